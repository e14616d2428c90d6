"""The bridge to skorch: nets that are sized, trained, run and read. No other room imports skorch.

``_prepare`` fits a net to the data, ``_train`` runs skorch's loop, ``_runner`` computes predictions of any state, and
``_judge`` is the objective of methods that ask for data; ``_any_members`` predicts with networks and fitted estimators
alike. ``_average_weights`` is for trainings by skorch alone. ``losses/`` has losses of weighted and soft targets,
``vectorized/`` the training and the prediction of many nets at once. This room may import what is below it: ``select``,
``pool``, the torch-only rooms and ``_vectorized``. The network that estimators use when they are given none,
``default_net``, stands in ``_tabular``.

The names in ``__all__`` are for users; the others are offered to the rooms above.
"""

from skfusion._random import seed_scope
from skfusion.data import default_score
from skfusion.nets._any_members import AnyMembers, in_units, on_devices, predict_members, runners_of, scaling_of
from skfusion.nets._average_weights import AverageWeights
from skfusion.nets._biases_without_effect import biases_without_effect, why_not_vectorized
from skfusion.nets._fingerprint import NoKey, digest, fingerprint
from skfusion.nets._fit_in_turn import fit_in_turn
from skfusion.nets._for_clients import initial_state, sized_for_clients
from skfusion.nets._heads import FirstOutput, Head, module_of
from skfusion.nets._interrupts import hand_over
from skfusion.nets._judge import Judge
from skfusion.nets._keep_runs import KeepsRuns, starts_of
from skfusion.nets._mlp import MLP, mlp_classifier, mlp_regressor, standardising
from skfusion.nets._optimizer_modes import trained_parameters
from skfusion.nets._parallel import in_order
from skfusion.nets._population import Population, Together
from skfusion.nets._prepare import (
    dtype_of,
    exclusive,
    initialised,
    is_net,
    no_net,
    resized,
    sized,
    task_of,
    tensors,
    two_classes,
)
from skfusion.nets._replay import replay
from skfusion.nets._restored import KeepsNetworks, OnColumns, on_columns, restored, with_columns_of, with_module
from skfusion.nets._runner import Runner
from skfusion.nets._tabm import TabM
from skfusion.nets._tabm_members import of_one_member, unstacked, with_members
from skfusion.nets._tabm_nets import tabm_classifier, tabm_regressor
from skfusion.nets._tabular import TabularMLP, default_net, tabular_classifier, tabular_regressor
from skfusion.nets._train import fit
from skfusion.nets._training_callback import (
    DivergedError,
    EpochHook,
    LastState,
    Recorder,
    Run,
    Watch,
    check_validates,
    history_of,
    mean_loss,
    state_of,
)
from skfusion.nets._validation import fixed_split, unit_split
from skfusion.nets.losses._consistency import Ensembled, Twice
from skfusion.nets.losses._soft import Soft
from skfusion.nets.vectorized._batched_predictor import BatchedPredictor, Predictors
from skfusion.nets.vectorized._fit_many import fit_many
from skfusion.nets.vectorized._plan import Plan, VectorizeChoice, plan

__all__ = [
    "MLP",
    "AverageWeights",
    "DivergedError",
    "Judge",
    "Runner",
    "TabM",
    "TabularMLP",
    "default_net",
    "mlp_classifier",
    "mlp_regressor",
    "replay",
    "state_of",
    "tabm_classifier",
    "tabm_regressor",
    "tabular_classifier",
    "tabular_regressor",
    "with_module",
]
