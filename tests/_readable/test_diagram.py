"""The picture of an estimator: its parts in their order, each with its parameters and a link to our documentation."""

import importlib
import inspect
import pkgutil
import re

import pytest
import torch
from sklearn.base import BaseEstimator, clone
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_html_repr
from skorch import NeuralNetClassifier
from torch import nn

import skfusion
from skfusion import (
    CurveClassifier,
    DeepForestClassifier,
    DistillClassifier,
    EnsembleClassifier,
    FederatedClassifier,
    ModelPool,
    PortfolioClassifier,
    SoupClassifier,
    SoupRegressor,
    StackingFusion,
    WeightAveragingClassifier,
)
from skfusion._component import Component
from skfusion._readable._diagram import DOCS, public_name
from skfusion.align import WeightMatching
from skfusion.average import EMA
from skfusion.collect import Averages, Seeds
from skfusion.combine import Stack
from skfusion.merge import Greedy, Uniform
from skfusion.tuning import FusionSearch

X, y = load_iris(return_X_y=True)
X = X.astype("float32")


class Net(nn.Module):
    def __init__(self, n_hidden=8):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, n_hidden), nn.ReLU(), nn.Linear(n_hidden, 3))

    def forward(self, x):
        return self.layers(x)


def net(**params):
    given = {"criterion": nn.CrossEntropyLoss, "max_epochs": 2, "verbose": 0, "module__n_hidden": 5, "module": Net}
    return NeuralNetClassifier(**{**given, **params})


def soup(**params):
    return SoupClassifier(net(), collect=Seeds(3), align=WeightMatching(), merge=Greedy(), random_state=0, **params)


def labels(estimator):
    """The names of what is drawn, from above to below."""
    html = estimator_html_repr(estimator)
    return re.findall(r"sk-toggleable__label[^>]*><div><div>([^<]+)</div>", html)


SOUP = ["estimator: NeuralNetClassifier", "collect: Seeds", "align: WeightMatching", "merge: Greedy"]
STEP = "soupclassifier: SoupClassifier"
SOUP = [*SOUP, "repair: Recalibrate"]


@pytest.mark.parametrize(
    ("estimator", "drawn"),
    [
        (soup(), ["SoupClassifier", *SOUP]),
        (make_pipeline(StandardScaler(), soup()), ["Pipeline", "StandardScaler", STEP, *SOUP]),
        (GridSearchCV(soup(), {"merge": [Greedy(), Uniform()]}), ["GridSearchCV", "estimator: SoupClassifier", *SOUP]),
        (SoupRegressor(), ["SoupRegressor", "estimator: NeuralNetRegressor", "collect: Tail", *SOUP[3:]]),
        (
            EnsembleClassifier(net(), collect=Averages(2, average=EMA(0.9))),
            ["EnsembleClassifier", SOUP[0], "collect: Averages", "average: EMA", "combine: Average"],
        ),
        (
            WeightAveragingClassifier(net(), average=EMA(0.9)),
            ["WeightAveragingClassifier", SOUP[0], "collect: Averages", "average: EMA", "merge: Uniform", SOUP[-1]],
        ),
        (CurveClassifier(net()), ["CurveClassifier", SOUP[0], SOUP[1], "connect: Bezier", SOUP[-1]]),
        (
            StackingFusion([("a", net()), ("b", LogisticRegression())], final_estimator=LogisticRegression()),
            ["StackingFusion", "a", "NeuralNetClassifier", "b", "LogisticRegression", "combine: Stack",
             "final_estimator: LogisticRegression"],
        ),
        (PortfolioClassifier(), ["PortfolioClassifier", "combine: EnsembleSelection"]),
        (FederatedClassifier(net()), ["FederatedClassifier", SOUP[0], SOUP[-1]]),
        (
            DistillClassifier(net(), teacher=soup()),
            ["DistillClassifier", SOUP[0], "teacher: SoupClassifier", *SOUP],
        ),
        (DeepForestClassifier(), ["DeepForestClassifier"]),
        (
            FusionSearch(make_pipeline(StandardScaler(), soup()), lambda trial: {}),
            ["FusionSearch", "estimator: Pipeline", "StandardScaler", STEP, *SOUP],
        ),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)  # fmt: skip
def test_the_parts_are_drawn_in_their_order(estimator, drawn):
    assert labels(estimator) == drawn


def test_a_fitted_estimator_says_so_and_shows_what_it_has_learned():
    fitted = soup().fit(X, y)
    shown = fitted._repr_html_()
    assert labels(fitted) == ["SoupClassifier", *SOUP]
    assert "<span>Fitted</span>" in shown
    assert "<span>Not fitted</span>" in soup()._repr_html_()
    for name in ("pool_", "member_weights_", "estimator_"):
        assert re.search(rf">\s*{name}\s*<", shown)
    assert "NeuralNetClassifier(Net)" in shown
    assert "&lt;class" not in shown
    pooled = make_pipeline(StandardScaler(), EnsembleClassifier(collect=fitted.pool_))
    assert labels(pooled)[-2:] == ["collect: ModelPool", "combine: Average"]
    assert '<div class="caption">3 members</div>' in pooled._repr_html_()


def test_a_search_shows_the_best_that_it_has_found():
    search = FusionSearch(soup(), lambda trial: {"merge": Uniform()}, n_trials=1, cv=2, random_state=0).fit(X, y)
    assert labels(search) == ["FusionSearch", "best_estimator_: SoupClassifier", *SOUP[:3], "merge: Uniform", SOUP[-1]]


def test_each_part_has_its_parameters_without_the_internals_of_nets():
    shown = soup()._repr_html_()
    for name in ("n_members", "max_epochs", "module__n_hidden", "max_sweeps", "strict", "n_passes"):
        assert f"copyToClipboard('{name}'," in shown
    assert 'data-param-prefix="collect__"' in shown
    assert not re.search(r"copyToClipboard\('(_params_to_validate|callbacks__|prefixes)| at 0x", shown)


def test_what_was_left_out_is_marked_as_the_default():
    assert soup()._repr_html_().count('<div class="caption">by default</div>') == 1


def test_parts_link_to_our_pages_and_the_net_to_those_of_skorch():
    links = re.findall(r'href="(https://[^"#]+)"', soup()._repr_html_())
    for name in ("SoupClassifier", "collect.Seeds", "align.WeightMatching", "merge.Greedy", "repair.Recalibrate"):
        assert f"{DOCS}/api/generated/skfusion.{name}.html" in links
    assert "https://skorch.readthedocs.io/en/stable/classifier.html" in links


def public_classes():
    names = [info.name for info in pkgutil.iter_modules(skfusion.__path__, "skfusion.") if "._" not in info.name]
    for module in [skfusion, *map(importlib.import_module, names)]:
        for name in getattr(module, "__all__", ()):
            if inspect.isclass(kind := getattr(module, name)):
                yield f"{module.__name__}.{name}", kind


def test_the_address_of_a_class_is_that_of_its_page():
    pages = {}
    for name, kind in public_classes():  # as docs/conf.py lists them: where the name is shortest
        if issubclass(kind, BaseEstimator | Component | ModelPool):
            pages.setdefault(kind, name)
    assert {kind: public_name(kind) for kind in pages} == pages
    for kind in pages:
        if issubclass(kind, BaseEstimator) and hasattr(kind, "predict"):
            assert kind.__dict__.get("_doc_link_module", kind._doc_link_module) == "skfusion", kind


def test_a_class_of_somebody_else_has_no_page_of_ours():
    class Mine(SoupClassifier):
        pass

    assert Mine()._get_doc_link() == ""


def test_nothing_is_trained_or_changed_by_drawing(monkeypatch):
    def refuse(*args, **params):
        raise AssertionError("a net was trained or made ready")

    estimator = soup()
    monkeypatch.setattr(NeuralNetClassifier, "initialize", refuse)
    monkeypatch.setattr(NeuralNetClassifier, "fit", refuse)
    before, in_net = dict(vars(estimator)), dict(vars(estimator.estimator))
    state = torch.random.get_rng_state()
    estimator._repr_html_()
    make_pipeline(StandardScaler(), estimator)._repr_html_()
    repr(estimator)
    assert vars(estimator) == before
    assert vars(estimator.estimator) == in_net
    assert torch.equal(state, torch.random.get_rng_state())


def test_what_users_name_is_escaped():
    class Shouts(nn.Module):
        pass

    Shouts.__name__ = "<script>alert(1)</script>"
    stack = StackingFusion(estimators=[("<script>alert(2)</script>", net(module=Shouts))])
    for estimator in (stack, SoupClassifier(net(module=Shouts)), make_pipeline(EnsembleClassifier(net(module=Shouts)))):
        assert "<script>alert(" not in estimator._repr_html_()


@pytest.mark.parametrize("combine", [Stack(net()), Stack(LogisticRegression(C=3))], ids=["net", "other"])
def test_parts_of_parts_are_drawn(combine):
    ensemble = EnsembleClassifier(net(), combine=combine)
    assert labels(ensemble)[-1] == f"final_estimator: {type(combine.final_estimator).__name__}"
    assert labels(clone(ensemble)) == labels(ensemble)


def test_what_cannot_be_drawn_part_by_part_is_drawn_as_one():
    bad = WeightAveragingClassifier(net(), every=3, average=EMA(0.9))  # which fit refuses
    assert labels(bad) == ["WeightAveragingClassifier"]


FUSIONS = {kind for _, kind in public_classes() if issubclass(kind, BaseEstimator) and hasattr(kind, "_drawn_parts")}


@pytest.mark.parametrize("kind", sorted(FUSIONS - {FusionSearch}, key=lambda kind: kind.__name__))
def test_each_estimator_can_be_drawn_part_by_part(kind):
    estimator = kind()
    block = estimator._sk_visual_block_()  # whose errors scikit-learn would hide
    assert block.kind in ("single", "serial")
    assert labels(estimator)[0] == kind.__name__
    if "estimator" in estimator.get_params() and hasattr(estimator, "_fusing"):
        assert labels(estimator)[1].startswith("estimator: NeuralNet")


def test_there_are_estimators_to_draw():
    assert len(FUSIONS) > 30
