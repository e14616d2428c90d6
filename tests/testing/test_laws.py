"""Every component of the package keeps the laws of its family, and every estimator those of estimators."""

import importlib
import itertools
import sys
from types import ModuleType

import pytest

from skfusion import EnsembleClassifier, EnsembleRegressor, ReBasinMerger, SoupClassifier, SoupRegressor
from skfusion._component import Component
from skfusion.align import MergeMany
from skfusion.collect import Seeds, Tail
from skfusion.combine import Average, Combiner, Stack, Vote
from skfusion.connect import Bezier, Connector, Fourier, Line, PolyChain
from skfusion.merge import TIES, Greedy, Merger, TaskArithmetic, Uniform
from skfusion.nets import mlp_classifier, mlp_regressor
from skfusion.pool import DirectoryStore, MemoryStore, Store
from skfusion.repair import Repair
from skfusion.select import TopK
from skfusion.testing import (
    check_component,
    check_estimator,
    check_store,
    checks_for,
    discover,
    instances,
    laws,
)

SMALL = {"max_epochs": 3, "module__hidden": (8,)}
ESTIMATORS = [
    SoupClassifier(mlp_classifier(**SMALL, module__norm="batch"), collect=Seeds(2)),
    SoupClassifier(mlp_classifier(**SMALL), collect=Tail(0.3), select=TopK(1), merge=Uniform()),
    SoupRegressor(mlp_regressor(**SMALL, module__norm="layer"), collect=Seeds(2)),
    SoupClassifier(mlp_classifier(**SMALL), collect=Seeds(2), align=MergeMany(), merge=Uniform(), repair=Repair()),
    ReBasinMerger(mlp_classifier(**SMALL), n_points=3),
    ReBasinMerger(mlp_regressor(**SMALL), align="activations", n_points=0),
    EnsembleClassifier(mlp_classifier(**SMALL), collect=Seeds(2)),
    EnsembleClassifier(mlp_classifier(**SMALL), collect=Seeds(2), combine=Vote(), select=TopK(2)),
    EnsembleClassifier(mlp_classifier(**SMALL), collect=Seeds(2), combine=Stack(), cv=2),
    EnsembleRegressor(mlp_regressor(**SMALL), collect=Seeds(2)),
]


OFTEN = {"Bootstrap(n_members=4)"}


class Hasty(EnsembleClassifier):
    """Asks X for its length before it is an array, which scikit-learn's checks do not forgive."""

    def fit(self, X, y, sample_weight=None, groups=None):
        return super().fit(X[: len(X)], y, sample_weight, groups)


def cases(things):
    """One test for each law of each thing."""

    def label(i, thing):
        return repr(thing) if isinstance(thing, Component) else f"{type(thing).__name__}-{i}"

    def marks(thing, name):  # random labels take seconds: here for some, and for the estimators in test_chance.py
        return [pytest.mark.slow] if name.startswith("check_random_labels") and repr(thing) not in OFTEN else []

    return [
        pytest.param(thing, law, id=f"{label(i, thing)}-{name}", marks=marks(thing, name))
        for i, thing in enumerate(things)
        for name, law in checks_for(thing)
    ]


@pytest.mark.parametrize(("component", "law"), cases(instances()))
def test_component_keeps_the_law(component, law):
    law(component)


@pytest.mark.parametrize("law", laws(Store), ids=lambda law: law.__name__)
def test_memory_store_keeps_the_law(law):
    law(MemoryStore())


@pytest.mark.parametrize("law", laws(Store), ids=lambda law: law.__name__)
def test_directory_store_keeps_the_law(law, tmp_path):
    law(DirectoryStore(tmp_path / "pool"))


@pytest.mark.parametrize(("estimator", "law"), cases(ESTIMATORS))
def test_estimator_keeps_the_law(estimator, law):
    law(estimator)


def test_check_estimator_runs_scikit_learns_checks():
    net = mlp_regressor(max_epochs=20, module__hidden=(8,), lr=0.05)
    check_estimator(SoupRegressor(net, collect=Seeds(2)))

    net = mlp_classifier(max_epochs=20, module__hidden=(8,), lr=0.05)
    with pytest.raises(TypeError, match="_NotAnArray"):
        check_estimator(Hasty(net, collect=Seeds(2)))


def test_check_store_names_the_law():
    check_store(MemoryStore)

    class Sorted(MemoryStore):
        def names(self):
            return sorted(super().names())

    with pytest.raises(AssertionError, match="breaks check_names_are_in_the_order_of_puts"):
        check_store(Sorted)


def test_exemptions_are_needed():
    for component in instances():
        for name in component._test_skips():
            law = next(law for law in laws(type(component)) if law.__name__ == name)
            with pytest.raises(Exception):  # noqa: B017, PT011  it may break in any way
                law(component)


@pytest.mark.parametrize("cls", discover(), ids=lambda cls: cls.__name__)
def test_component_is_exported_by_its_family(cls):
    package = importlib.import_module(".".join(cls.__module__.split(".")[:2]))
    assert cls.__name__ in package.__all__
    assert getattr(package, cls.__name__) is cls


@pytest.mark.parametrize("cls", discover(), ids=lambda cls: cls.__name__)
def test_component_has_an_instance_to_check(cls):
    assert [*cls._test_params()]


def test_discover_finds_families():
    assert {Greedy, TaskArithmetic, TIES, Uniform} <= set(discover(Merger))
    assert {Average, Stack, Vote} <= set(discover(Combiner))
    assert {Bezier, Fourier, Line, PolyChain} <= set(discover(Connector))
    assert {type(c) for c in instances(Connector)} == set(discover(Connector))
    assert Merger not in discover()
    assert {type(c) for c in instances(Combiner)} == set(discover(Combiner))


def test_discover_leaves_out_what_needs_a_missing_library(monkeypatch):
    load = importlib.import_module

    def without_scipy(name, package=None):
        if name == "skfusion.merge.soups._uniform":
            raise ModuleNotFoundError("No module named 'matplotlib'", name="matplotlib")
        return load(name, package)

    monkeypatch.setattr(importlib, "import_module", without_scipy)
    assert "Greedy" in [cls.__name__ for cls in discover(Merger)]

    def broken(name, package=None):
        raise ModuleNotFoundError("No module named 'skfusion.gone'", name="skfusion.gone")

    monkeypatch.setattr(importlib, "import_module", broken)
    with pytest.raises(ModuleNotFoundError):
        discover()


def test_discover_skips_private_classes(monkeypatch):
    module = ModuleType("skfusion.extra")
    hidden = type("_Hidden", (Component,), {"__module__": "skfusion.extra"})
    foreign = type("Foreign", (Component,), {"__module__": "elsewhere"})
    shown = type("Shown", (Component,), {"__module__": "skfusion.extra"})
    vars(module).update(_Hidden=hidden, Foreign=foreign, Shown=shown)
    monkeypatch.setitem(sys.modules, "skfusion.extra", module)
    monkeypatch.setattr("skfusion.testing._check.modules", lambda: iter([module, module]))
    assert discover() == [shown]


class Exempt(Merger):
    """The first member.

    References
    ----------
    None.

    Examples
    --------
    >>> Exempt()
    Exempt()
    """

    skips: dict = {"check_order_of_members_does_not_matter": "it is the first"}  # noqa: RUF012

    def __call__(self, states, base=None, objective=None):
        return Uniform()(states)

    @classmethod
    def _test_skips(cls):
        return cls.skips


def test_checks_for_leaves_out_exemptions():
    names = [name for name, _ in checks_for(Exempt())]
    assert "check_order_of_members_does_not_matter" not in names
    assert len(names) == len(laws(Merger)) - 1


def test_an_exemption_without_need_is_an_error():
    with pytest.raises(AssertionError, match="remove the exemption"):
        check_component(Exempt)


def test_an_exemption_from_no_law_is_an_error(monkeypatch):
    monkeypatch.setattr(Exempt, "skips", {"check_nothing": "typing error"})
    with pytest.raises(ValueError, match="check_nothing"):
        check_component(Exempt())


def test_a_needed_exemption_is_honoured(monkeypatch):
    def first(self, states, base=None, objective=None):
        return Uniform([1.0] + [0.0] * (len(states) - 1))(states)

    monkeypatch.setattr(Exempt, "__call__", first)
    check_component(Exempt)
    monkeypatch.setattr(Exempt, "skips", {})
    with pytest.raises(AssertionError, match=r"Exempt\(\) breaks check_order_of_members"):
        check_component(Exempt)


def test_laws_of_a_family_hold_for_it_alone():
    families = [laws(base) for base in (Merger, Combiner, Connector, Store)]
    common = set(laws(Component))
    for a, b in itertools.combinations(families, 2):
        assert set(a) & set(b) <= common
    assert len({law.__name__ for law in laws()}) == len(laws())
    assert all(law.__doc__ for law in laws())


def test_estimators_are_not_components():
    with pytest.raises(TypeError, match="check_estimator"):
        check_component(SoupClassifier())


def test_estimator_exemptions_have_reasons():
    names = [name for name, _ in checks_for(EnsembleClassifier(combine=Stack()))]
    assert "check_fuse_repeats_fit" not in names
    assert "check_fuse_repeats_fit" in [name for name, _ in checks_for(EnsembleClassifier())]
