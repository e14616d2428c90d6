"""The bridge to skorch: size, train, read and run nets. No other part of the library imports skorch."""

from skfusion._random import seeded
from skfusion.nets._columns import OnColumns, on_columns, with_columns_of
from skfusion.nets._judge import Judge
from skfusion.nets._mlp import MLP, default_net, mlp_classifier, mlp_regressor
from skfusion.nets._parallel import in_order
from skfusion.nets._prepare import exclusive, is_net, sized, two_classes
from skfusion.nets._restored import restored, with_module
from skfusion.nets._runner import Runner
from skfusion.nets._scaling import standardising
from skfusion.nets._train import fit, history_of, state_of
from skfusion.nets._training_callback import DivergedError
from skfusion.nets._validation import divides_rows, fixed_split, unit_split
from skfusion.nets._without_effect import biases_without_effect
from skfusion.nets.losses._consistency import Ensembled, Twice
from skfusion.nets.losses._score import default_score
from skfusion.nets.losses._soft import Soft
from skfusion.nets.vectorized._batched_predictor import BatchedPredictor, Predictors
from skfusion.nets.vectorized._fit_many import fit_many
from skfusion.nets.vectorized._member import Job
from skfusion.nets.vectorized._plan import Plan, VectorizeChoice, plan

__all__ = [
    "MLP",
    "BatchedPredictor",
    "DivergedError",
    "Ensembled",
    "Job",
    "Judge",
    "OnColumns",
    "Plan",
    "Predictors",
    "Runner",
    "Soft",
    "Twice",
    "VectorizeChoice",
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
