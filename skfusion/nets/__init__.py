"""The bridge to skorch: size, train, read and run nets. No other part of the library imports skorch."""

from skfusion.nets._columns import OnColumns, on_columns, with_columns_of
from skfusion.nets._consistency import Ensembled, Twice
from skfusion.nets._evaluate import Judge, objective
from skfusion.nets._lineup import Lineup, Lineups
from skfusion.nets._mlp import MLP, default_net, mlp_classifier, mlp_regressor
from skfusion.nets._parallel import in_order
from skfusion.nets._plan import Plan, StackChoice, plan
from skfusion.nets._restored import restored, with_module
from skfusion.nets._runner import Runner
from skfusion.nets._scaling import standardising
from skfusion.nets._score import default_score
from skfusion.nets._seat import Job
from skfusion.nets._size import exclusive, is_net, sized, two_classes
from skfusion.nets._soft import Soft
from skfusion.nets._stack import fit_many
from skfusion.nets._train import fit, history_of, state_of
from skfusion.nets._validation import divides_rows, fixed_split, unit_split
from skfusion.nets._watch import DivergedError
from skfusion.nets._without_effect import biases_without_effect
from skfusion.streams import seeded

__all__ = [
    "MLP",
    "DivergedError",
    "Ensembled",
    "Job",
    "Judge",
    "Lineup",
    "Lineups",
    "OnColumns",
    "Plan",
    "Runner",
    "Soft",
    "StackChoice",
    "Twice",
    "biases_without_effect",
    "default_net",
    "default_score",
    "divides_rows",
    "exclusive",
    "fit",
    "fit_many",
    "fixed_split",
    "history_of",
    "in_order",
    "is_net",
    "mlp_classifier",
    "mlp_regressor",
    "objective",
    "on_columns",
    "plan",
    "restored",
    "seeded",
    "sized",
    "standardising",
    "state_of",
    "two_classes",
    "unit_split",
    "with_columns_of",
    "with_module",
]
