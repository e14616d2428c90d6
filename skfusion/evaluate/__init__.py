"""Predictions, pairs and diversity of a pool on data: what displays and diagnoses ask of its members.

One file for each question: ``_pool_on_data`` runs members of one architecture on rows, ``_pairs`` compares each two of
them, ``_diversity`` compares their mistakes. The room stands on `estimators` and imports anything from there down;
`plots`, `diagnose`, `compare` and `tuning` import it, by the names below. To add a measure, write a function of a pool
and rows in a file here and name it below; :mod:`skfusion.diagnose` offers the public ones to users.
"""

from skfusion.evaluate._diversity import diversity as diversity
from skfusion.evaluate._pairs import WAYS as WAYS
from skfusion.evaluate._pairs import check_n_points as check_n_points
from skfusion.evaluate._pairs import pair_index as pair_index
from skfusion.evaluate._pairs import pairwise as pairwise
from skfusion.evaluate._pool_on_data import PoolOnData as PoolOnData
from skfusion.evaluate._pool_on_data import check_both as check_both
from skfusion.evaluate._pool_on_data import pool_on_data as pool_on_data
from skfusion.evaluate._pool_on_data import statistics_of_inner_points as statistics_of_inner_points
