"""Scores of transferability, one file each."""

from skfusion.reuse.transferability._base import Transferability
from skfusion.reuse.transferability._h_score import HScore
from skfusion.reuse.transferability._leep import LEEP
from skfusion.reuse.transferability._logme import LogME
from skfusion.reuse.transferability._nce import NCE
from skfusion.reuse.transferability._regularized_h_score import RegularizedHScore
from skfusion.reuse.transferability._trans_rate import TransRate

__all__ = ["LEEP", "NCE", "HScore", "LogME", "RegularizedHScore", "TransRate", "Transferability"]
