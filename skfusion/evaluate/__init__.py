"""Predictions, pairs and diversity of a pool on data: what displays and diagnoses ask of its members.

One file for each question: ``_pool_on_data`` runs members of one architecture on rows, ``_pairs`` compares each two of
them, ``_minima`` joins them by paths, ``_diversity`` compares their mistakes, ``_leaderboard`` scores each, and
``_scoreboard`` is how notebooks show tables of scores. The room
stands on `estimators` and imports anything from there down; `plots`, `diagnose`, `compare` and `tuning` import it, by
the names below, and the method `leaderboard` of a pool calls it. To add a measure, write a function of a pool and rows
in a file here and name it below; :mod:`skfusion.diagnose` offers the public ones to users.
"""

from skfusion.evaluate._diversity import diversity
from skfusion.evaluate._leaderboard import leaderboard
from skfusion.evaluate._minima import minima_of
from skfusion.evaluate._pairs import WAYS, check_n_points, pair_index, pairwise
from skfusion.evaluate._pool_on_data import PoolOnData, check_both, pool_on_data, statistics_of_inner_points
from skfusion.evaluate._scoreboard import Scoreboard
