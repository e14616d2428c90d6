"""Links to the documentation of other projects, without a network.

Sphinx's intersphinx reads, for each project, a list of its pages. Those lists are written here at the start of a build,
and have only what the pages of skfusion name. Each name must exist in the library that is installed; the address of its
page follows the project's own pattern.
"""

import importlib
import inspect
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

HEADER = (
    "# Sphinx inventory version 2\n# Project: {}\n# Version: stable\n# The remainder of this file is zlib compressed.\n"
)


class Project(NamedTuple):
    """Where a project's documentation is: ``{name}`` is a name, ``{module}`` the module before its last dot."""

    root: str
    pages: dict[str, str]  # pattern of a page: names of that pattern, with spaces between
    terms: str = ""  # words of its glossary


PROJECTS = {
    "python": Project(
        "https://docs.python.org/3/",
        {
            "library/functions.html#{name}": "bool callable float int object type",
            "library/stdtypes.html#{name}": "bytes dict list range set str tuple",
            "library/constants.html#{name}": "None True False",
            "library/{module}.html#{name}": "pathlib.Path random.Random",
            "library/exceptions.html#{name}": "KeyboardInterrupt KeyError MemoryError TypeError UserWarning ValueError",
        },
        terms="generator iterable mapping sequence",
    ),
    "numpy": Project(
        "https://numpy.org/doc/stable/",
        {
            "reference/generated/{name}.html#{name}": "numpy.ndarray numpy.dtype numpy.memmap",
            "reference/random/legacy.html#{name}": "numpy.random.RandomState",
            "reference/random/generator.html#{name}": "numpy.random.Generator",
        },
        terms="array_like",
    ),
    "pandas": Project(
        "https://pandas.pydata.org/docs/",
        {"reference/api/{name}.html#{name}": "pandas.DataFrame pandas.Series pandas.read_csv pandas.to_datetime"},
    ),
    "scipy": Project(
        "https://docs.scipy.org/doc/scipy/",
        {"reference/generated/{name}.html#{name}": "scipy.optimize.linear_sum_assignment scipy.optimize.minimize"},
    ),
    "sklearn": Project(
        "https://scikit-learn.org/stable/",
        {
            "modules/generated/{name}.html#{name}": """
                sklearn.base.BaseEstimator sklearn.base.clone sklearn.calibration.CalibratedClassifierCV
                sklearn.compose.ColumnTransformer sklearn.compose.TransformedTargetRegressor
                sklearn.dummy.DummyClassifier sklearn.dummy.DummyRegressor sklearn.ensemble.BaggingClassifier
                sklearn.ensemble.HistGradientBoostingClassifier sklearn.ensemble.RandomForestClassifier
                sklearn.ensemble.StackingClassifier sklearn.ensemble.VotingClassifier sklearn.frozen.FrozenEstimator
                sklearn.impute.SimpleImputer sklearn.linear_model.LogisticRegression sklearn.linear_model.Ridge
                sklearn.model_selection.GridSearchCV sklearn.model_selection.GroupKFold
                sklearn.model_selection.KFold sklearn.model_selection.RandomizedSearchCV
                sklearn.model_selection.StratifiedKFold sklearn.model_selection.TimeSeriesSplit
                sklearn.model_selection.TunedThresholdClassifierCV sklearn.model_selection.cross_val_score
                sklearn.model_selection.cross_validate sklearn.model_selection.train_test_split
                sklearn.neural_network.MLPClassifier sklearn.neural_network.MLPRegressor sklearn.pipeline.Pipeline
                sklearn.pipeline.make_pipeline sklearn.preprocessing.OneHotEncoder sklearn.preprocessing.OrdinalEncoder
                sklearn.preprocessing.QuantileTransformer sklearn.preprocessing.StandardScaler
                sklearn.preprocessing.TargetEncoder sklearn.utils.validation.check_is_fitted""",
        },
        terms="array-like estimator",
    ),
    "torch": Project(
        "https://docs.pytorch.org/docs/stable/",
        {
            "tensors.html#{name}": "torch.Tensor",
            "tensor_attributes.html#{name}": "torch.device torch.dtype",
            "data.html#{name}": "torch.utils.data.DataLoader torch.utils.data.Dataset torch.utils.data.IterableDataset",
            "optim.html#{name}": "torch.optim.Optimizer",
            "generated/{name}.html#{name}": """
                torch.Generator torch.compile torch.func.functional_call torch.func.vmap torch.jit.trace torch.load
                torch.manual_seed torch.nn.BCEWithLogitsLoss torch.nn.BatchNorm1d torch.nn.BatchNorm2d torch.nn.Conv2d
                torch.nn.CrossEntropyLoss torch.nn.Dropout torch.nn.Linear torch.nn.MSELoss torch.nn.Module
                torch.nn.MultiheadAttention torch.nn.NLLLoss torch.nn.Sequential torch.nn.functional.relu
                torch.optim.Adam torch.optim.SGD torch.optim.lr_scheduler.ReduceLROnPlateau torch.save""",
        },
    ),
    "skorch": Project(
        "https://skorch.readthedocs.io/en/stable/",
        {
            "classifier.html#{name}": """
                skorch.classifier.NeuralNetClassifier skorch.classifier.NeuralNetBinaryClassifier""",
            "regressor.html#{name}": "skorch.regressor.NeuralNetRegressor",
            "net.html#{name}": "skorch.net.NeuralNet",
            "callbacks.html#{name}": """
                skorch.callbacks.Callback skorch.callbacks.Checkpoint skorch.callbacks.EarlyStopping
                skorch.callbacks.EpochScoring skorch.callbacks.GradientNormClipping skorch.callbacks.LRScheduler
                skorch.callbacks.MlflowLogger skorch.callbacks.TensorBoard skorch.callbacks.WandbLogger""",
        },
    ),
    "optuna": Project(
        "https://optuna.readthedocs.io/en/stable/",
        {
            "reference/generated/{name}.html#{name}": "optuna.study.Study optuna.trial.Trial optuna.study.create_study",
            "reference/samplers/generated/{name}.html#{name}": """
                optuna.samplers.CmaEsSampler optuna.samplers.GPSampler optuna.samplers.RandomSampler
                optuna.samplers.TPESampler""",
        },
    ),
    "joblib": Project(
        "https://joblib.readthedocs.io/en/stable/",
        {"generated/{name}.html#{name}": "joblib.Memory joblib.Parallel joblib.parallel_config"},
    ),
    "matplotlib": Project(
        "https://matplotlib.org/stable/",
        {
            "api/_as_gen/{name}.html#{name}": """
                matplotlib.axes.Axes matplotlib.colors.Colormap matplotlib.figure.Figure""",
            "api/contour_api.html#{name}": "matplotlib.contour.QuadContourSet",
            "api/image_api.html#{name}": "matplotlib.image.AxesImage",
        },
    ),
}

# Other names of the same things.
ALSO = {
    "nn.Module": "torch.nn.Module",
    "optuna.Study": "optuna.study.Study",
    "optuna.Trial": "optuna.trial.Trial",
    "skorch.NeuralNetClassifier": "skorch.classifier.NeuralNetClassifier",
    "skorch.NeuralNetRegressor": "skorch.regressor.NeuralNetRegressor",
}

# Words of types that are no names, and those that numpydoc links otherwise.
WORDS = {"array-like": ":term:`array-like <sklearn:array-like>`", "bool": ":class:`python:bool`"}


def names() -> Iterator[str]:
    """Yield the full names of what other projects offer, Python's builtins left out."""
    for project in PROJECTS.values():
        for listed in project.pages.values():
            yield from (name for name in listed.split() if "." in name)


def found(name: str) -> Any:
    """Return the object of a full name; a name that its library has not is an error."""
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module or "builtins"), attribute)


def role(thing: Any) -> str:
    """Return under which kind an inventory lists an object."""
    if thing is None or isinstance(thing, bool):
        return "py:data"
    if inspect.isclass(thing):
        return "py:exception" if issubclass(thing, BaseException) else "py:class"
    return "py:function"


def entries(project: Project) -> Iterator[str]:
    """Yield the lines of the inventory of a project."""
    for pattern, listed in project.pages.items():
        for name in listed.split():
            address = pattern.format(name=name, module=name.rpartition(".")[0])
            yield f"{name} {role(found(name))} 1 {address} -\n"
    for term in project.terms.split():
        yield f"{term} std:term 1 glossary.html#term-{term} -\n"


def inventory(title: str, project: Project) -> bytes:
    """Return the inventory of a project, in the format of Sphinx."""
    return HEADER.format(title).encode() + zlib.compress("".join(entries(project)).encode())


def write_inventories(app: Any, config: Any) -> None:
    """Write the inventories, and point intersphinx and numpydoc to them."""
    folder = Path(app.srcdir) / "_generated" / "inventories"
    folder.mkdir(parents=True, exist_ok=True)
    for title, project in PROJECTS.items():
        (folder / f"{title}.inv").write_bytes(inventory(title, project))
        config.intersphinx_mapping[title] = (project.root, f"_generated/inventories/{title}.inv")


def setup(app: Any) -> dict[str, bool]:
    """Write the inventories before intersphinx looks for them."""
    app.setup_extension("sphinx.ext.intersphinx")
    app.connect("config-inited", write_inventories, priority=100)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
