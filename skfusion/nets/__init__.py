"""The bridge to skorch: nets that are sized, trained, run and read. No other room imports skorch.

``_prepare`` fits a net to the data, ``_train`` runs skorch's loop, ``_runner`` computes predictions of any state, and
``_judge`` is the objective of methods that ask for data. ``losses/`` has losses of weighted and soft targets and the
reading of outputs, ``vectorized/`` the training and the prediction of many nets at once. This room may import what is
below it: ``select``, ``pool``, the torch-only rooms and ``_vectorized``. A default network is added in ``_mlp``.

The names in ``__all__`` are for users; the others are offered to the rooms above.
"""

from skfusion._random import seed_scope as seed_scope
from skfusion.nets._biases_without_effect import biases_without_effect as biases_without_effect
from skfusion.nets._columns import OnColumns as OnColumns
from skfusion.nets._columns import on_columns as on_columns
from skfusion.nets._columns import with_columns_of as with_columns_of
from skfusion.nets._judge import Judge as Judge
from skfusion.nets._judge import objective
from skfusion.nets._mlp import MLP, default_net, mlp_classifier, mlp_regressor
from skfusion.nets._mlp import standardising as standardising
from skfusion.nets._parallel import in_order as in_order
from skfusion.nets._prepare import dtype_of as dtype_of
from skfusion.nets._prepare import exclusive as exclusive
from skfusion.nets._prepare import initialised as initialised
from skfusion.nets._prepare import is_net as is_net
from skfusion.nets._prepare import no_net as no_net
from skfusion.nets._prepare import sized as sized
from skfusion.nets._prepare import tensors as tensors
from skfusion.nets._prepare import two_classes as two_classes
from skfusion.nets._restored import restored as restored
from skfusion.nets._restored import with_module
from skfusion.nets._runner import Runner
from skfusion.nets._train import fit as fit
from skfusion.nets._train import history_of as history_of
from skfusion.nets._train import state_of
from skfusion.nets._training_callback import DivergedError
from skfusion.nets._validation import divides_rows as divides_rows
from skfusion.nets._validation import fixed_split as fixed_split
from skfusion.nets._validation import unit_split as unit_split
from skfusion.nets.losses._consistency import Ensembled as Ensembled
from skfusion.nets.losses._consistency import Twice as Twice
from skfusion.nets.losses._output import default_score as default_score
from skfusion.nets.losses._soft import Soft as Soft
from skfusion.nets.vectorized._batched_predictor import BatchedPredictor as BatchedPredictor
from skfusion.nets.vectorized._batched_predictor import Predictors as Predictors
from skfusion.nets.vectorized._fit_many import fit_many as fit_many
from skfusion.nets.vectorized._member import Job as Job
from skfusion.nets.vectorized._plan import Plan as Plan
from skfusion.nets.vectorized._plan import VectorizeChoice as VectorizeChoice
from skfusion.nets.vectorized._plan import plan as plan

__all__ = [
    "MLP",
    "DivergedError",
    "Runner",
    "default_net",
    "mlp_classifier",
    "mlp_regressor",
    "objective",
    "state_of",
    "with_module",
]
