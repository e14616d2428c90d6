"""Scores of transferability, one file each: how well features or predictions of a model suit labelled rows.

``_base`` ranks the models of a pool by a score, and ``_labelled`` checks the outputs and labels that all scores read. A
new score is a subclass of ``Transferability`` with the method ``_score``.
"""

from skfusion.reuse.transferability._base import Transferability
from skfusion.reuse.transferability._h_score import HScore
from skfusion.reuse.transferability._leep import LEEP
from skfusion.reuse.transferability._logme import LogME
from skfusion.reuse.transferability._nce import NCE
from skfusion.reuse.transferability._regularized_h_score import RegularizedHScore
from skfusion.reuse.transferability._trans_rate import TransRate

__all__ = ["LEEP", "NCE", "HScore", "LogME", "RegularizedHScore", "TransRate", "Transferability"]
