"""The catalogue has a row for each public method, and its rows are true of the classes, as far as these can say it."""

import inspect
import re
from collections import defaultdict

import catalogue
import catalogue_page
import pytest
from references import references

import skfusion
import skfusion.estimators
import skfusion.forests
import skfusion.tuning
from skfusion._component import Component
from skfusion.average import Average
from skfusion.collect import Collector
from skfusion.testing import discover

METHODS = catalogue.methods()
ROWS = pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)


def public_methods():
    """Return the public names of all classes that are methods."""
    estimators = [getattr(skfusion.estimators, name) for name in skfusion.estimators.__all__]
    forests = [getattr(skfusion.forests, name) for name in skfusion.forests.__all__]
    searches = [getattr(skfusion.tuning, name) for name in skfusion.tuning.__all__]
    classes = filter(inspect.isclass, [*discover(), *estimators, *forests, *searches])
    return sorted({public_name(cls) for cls in classes})


def public_name(cls):
    room = ".".join(cls.__module__.split(".")[:2])
    return f"{'skfusion' if cls.__name__ in skfusion.__all__ else room}.{cls.__name__}"


def parts_of(made):
    """Return an object and all objects among its parameters."""
    inner = made.get_params(deep=True).values() if hasattr(made, "get_params") else ()
    return [made, *inner]


def components_of(method):
    """Return the objects of the classes of a row, as its sentences make them."""
    classes = tuple(catalogue.found(name) for name in method.classes)
    parts = [part for sentence in method.sentences for part in parts_of(catalogue.evaluated(sentence))]
    return [part for part in parts if isinstance(part, classes)]


MISSING = [
    "skfusion.BaggingFusion",
    "skfusion.BoostingFusion",
    "skfusion.CurveClassifier",
    "skfusion.CurveRegressor",
    "skfusion.DeepForestClassifier",
    "skfusion.DeepForestRegressor",
    "skfusion.DistillClassifier",
    "skfusion.DistillRegressor",
    "skfusion.DropoutEnsembleClassifier",
    "skfusion.DropoutEnsembleRegressor",
    "skfusion.EnsembleClassifier",
    "skfusion.EnsembleOfAveragesClassifier",
    "skfusion.EnsembleOfAveragesRegressor",
    "skfusion.EnsembleRegressor",
    "skfusion.FastGeometricEnsembleClassifier",
    "skfusion.FastGeometricEnsembleRegressor",
    "skfusion.FederatedClassifier",
    "skfusion.FederatedRegressor",
    "skfusion.KeepTrials",
    "skfusion.ModelReuseClassifier",
    "skfusion.ModelReuseRegressor",
    "skfusion.NeuralDecisionForestClassifier",
    "skfusion.PiModelClassifier",
    "skfusion.PortfolioClassifier",
    "skfusion.PortfolioRegressor",
    "skfusion.ReBasinMerger",
    "skfusion.SnapshotEnsembleClassifier",
    "skfusion.SnapshotEnsembleRegressor",
    "skfusion.SoupClassifier",
    "skfusion.SoupRegressor",
    "skfusion.StackingFusion",
    "skfusion.SubspaceClassifier",
    "skfusion.SubspaceRegressor",
    "skfusion.TemporalEnsemblingClassifier",
    "skfusion.align.ActivationMatching",
    "skfusion.align.Annealing",
    "skfusion.align.CycleConsistent",
    "skfusion.align.GraphMatching",
    "skfusion.align.LearnedTransformerMatching",
    "skfusion.align.MergeMany",
    "skfusion.align.OTFusion",
    "skfusion.align.SinkhornRebasin",
    "skfusion.align.StraightThrough",
    "skfusion.align.TransformerMatching",
    "skfusion.align.WeightMatching",
    "skfusion.collect.Averages",
    "skfusion.collect.Boosting",
    "skfusion.collect.Bootstrap",
    "skfusion.collect.FastGeometric",
    "skfusion.collect.FineTunes",
    "skfusion.collect.HWA",
    "skfusion.collect.Hyper",
    "skfusion.collect.Kept",
    "skfusion.collect.PAPA",
    "skfusion.collect.PAPA2",
    "skfusion.collect.PAPAAll",
    "skfusion.collect.Seeds",
    "skfusion.collect.Snapshots",
    "skfusion.collect.TabMMembers",
    "skfusion.collect.TangentFineTunes",
    "skfusion.collect.Tasks",
    "skfusion.collect.Untrained",
    "skfusion.combine.Average",
    "skfusion.combine.Calibrated",
    "skfusion.combine.Cascade",
    "skfusion.combine.DynamicSelection",
    "skfusion.combine.DynamicWeighting",
    "skfusion.combine.EnsembleSelection",
    "skfusion.combine.GeometricAverage",
    "skfusion.combine.Median",
    "skfusion.combine.Stack",
    "skfusion.combine.Vote",
    "skfusion.combine.WeightedAverage",
    "skfusion.connect.AutoNEB",
    "skfusion.connect.Bezier",
    "skfusion.connect.DynamicString",
    "skfusion.connect.ElasticBand",
    "skfusion.connect.Fourier",
    "skfusion.connect.Geodesic",
    "skfusion.connect.LearnedSubspace",
    "skfusion.connect.Line",
    "skfusion.connect.MultiPoint",
    "skfusion.connect.PolyChain",
    "skfusion.connect.RobustPath",
    "skfusion.connect.SimplexPerMode",
    "skfusion.connect.Simplicial",
    "skfusion.connect.Star",
    "skfusion.connect.Wedge",
    "skfusion.forests.MultiGrainedScan",
    "skfusion.merge.AdaMerging",
    "skfusion.merge.Barycenter",
    "skfusion.merge.Breadcrumbs",
    "skfusion.merge.DARE",
    "skfusion.merge.FedAdam",
    "skfusion.merge.FedAvgM",
    "skfusion.merge.FedMA",
    "skfusion.merge.FedYogi",
    "skfusion.merge.Fisher",
    "skfusion.merge.Greedy",
    "skfusion.merge.Interpolate",
    "skfusion.merge.Learned",
    "skfusion.merge.ModelStock",
    "skfusion.merge.PFNM",
    "skfusion.merge.RegMean",
    "skfusion.merge.RobustSoup",
    "skfusion.merge.Slerp",
    "skfusion.merge.TIES",
    "skfusion.merge.TaskArithmetic",
    "skfusion.merge.Uniform",
    "skfusion.merge.ZipIt",
    "skfusion.repair.Recalibrate",
    "skfusion.repair.Repair",
    "skfusion.reuse.AllMixtureMMD",
    "skfusion.reuse.AsFound",
    "skfusion.reuse.AverageFound",
    "skfusion.reuse.FineTune",
    "skfusion.reuse.HScore",
    "skfusion.reuse.LEEP",
    "skfusion.reuse.LogME",
    "skfusion.reuse.MixtureMMD",
    "skfusion.reuse.NCE",
    "skfusion.reuse.Probe",
    "skfusion.reuse.RegularizedHScore",
    "skfusion.reuse.Route",
    "skfusion.reuse.SingleMMD",
    "skfusion.reuse.StackFound",
    "skfusion.reuse.TransRate",
    "skfusion.select.Pick",
    "skfusion.select.TopK",
    "skfusion.tuning.FusionSearch",
    "skfusion.tuning.LayerwiseSoupWeights",
    "skfusion.tuning.SoupWeights",
    "skfusion.tuning.StudyProposals",
    "skfusion.tuning.TunedReuse",
]
"""Methods whose rows are not written yet."""


@pytest.mark.parametrize("name", public_methods())
def test_every_method_has_a_row(name):
    if name in MISSING:
        assert name not in catalogue.aliases()
        return
    assert name in catalogue.aliases(), "add a [[method]] with this class to a file of docs/catalogue"


@ROWS
def test_classes_are_public_under_their_names(method):
    assert [public_name(catalogue.found(name)) for name in method.classes] == [*method.classes]


@ROWS
def test_sentences_make_all_classes_of_the_row(method):
    made = {public_name(type(part)) for part in components_of(method)}
    assert made == {*method.classes}


@ROWS
def test_the_paper_is_one_that_the_class_names(method):
    if method.paper in ("folklore", "ours"):
        return
    assert method.reference is not None, f"{method.classes[0]} names {references(catalogue.found(method.classes[0]))}"
    assert bool(method.reference.url) == (method.paper != "no address")


@ROWS
def test_what_is_said_of_needs_results_and_differences(method):
    assert {*method.needs} <= {*catalogue.NEEDS}
    assert [*method.needs] == sorted(method.needs, key=catalogue.NEEDS.index)
    assert "data" in method.needs or "labels" not in method.needs
    assert re.match("(exact|approximate)", method.result)
    assert method.differs
    assert method.code or "none known" not in method.differs, "name the code that it was compared with"
    assert re.fullmatch(r"([\w.-]+/[\w.-]+)?", method.code)


@ROWS
def test_needs_are_those_that_the_class_states(method):
    for part in components_of(method):
        if not isinstance(part, Component):
            continue
        stated = {
            "base": getattr(part, "needs_base", False),
            "data": part.needs_objective,
            "labels": part.needs_labels,
            "training": isinstance(part, (Average, Collector)),
        }
        assert {need for need, stands in stated.items() if stands} <= {*method.needs}


def test_no_word_leads_to_unrelated_methods():
    rows = defaultdict(set)
    for method in METHODS:
        for word in [method.name, *method.aliases]:
            rows[word.casefold()].add(method.name)
    assert not {word: names for word, names in rows.items() if len(names) > 1}


@pytest.mark.parametrize("word", ["SWA", "EMA"])
def test_what_readers_search_for_leads_to_a_class(word):
    assert [name for name, words in catalogue.aliases().items() if word in words]


def test_the_page_has_all_rows_and_the_filter():
    text = catalogue_page.text()
    assert text.count("\n   * - **") == len(METHODS)
    assert 'id="catalogue-filter"' in text
    assert text.count('name="family"') == len(catalogue.chapters())
    assert text.count('name="have"') == len(catalogue.NEEDS)
