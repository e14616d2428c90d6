"""The catalogue has a row for each public method, and its rows are true of the classes, as far as these can say it."""

import inspect
import re
from collections import defaultdict

import catalogue
import catalogue_page
import catalogue_pictures
import matplotlib
import pytest
import torch
from references import references

import skfusion
import skfusion.estimators
import skfusion.forests
import skfusion.tuning
from skfusion._component import Component
from skfusion.align import Aligner, LearnedTransformerMatching, SinkhornRebasin
from skfusion.average import Average
from skfusion.collect import Collector
from skfusion.combine import Combiner
from skfusion.connect import Connector
from skfusion.merge import Merger
from skfusion.objective import Batch
from skfusion.repair import Repairer
from skfusion.select import Selector
from skfusion.testing import _laws_all as laws
from skfusion.testing import discover

METHODS = catalogue.methods()
FUSING = (Aligner, Combiner, Connector, Merger, Repairer, Selector)
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
    inner = made.get_params(deep=True) if hasattr(made, "get_params") else vars(made)
    return [made, *inner.values()]


def components_of(method):
    """Return the objects of the classes of a row, as its sentences make them."""
    classes = tuple(catalogue.found(name) for name in method.classes)
    parts = [part for sentence in method.sentences for part in parts_of(catalogue.evaluated(sentence))]
    return [part for part in parts if isinstance(part, classes)]


@pytest.mark.parametrize("name", public_methods())
def test_every_method_has_a_row(name):
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
    for part in [part for part in components_of(method) if isinstance(part, Component)]:
        stated = {
            "base": getattr(part, "needs_base", False),
            "data": part.needs_objective,
            "labels": part.needs_labels,
            "training": isinstance(part, (Average, Collector)),
        }
        assert {need for need, stands in stated.items() if stands} <= {*method.needs}
        if isinstance(part, FUSING) and "training" not in method.needs:
            assert stated["data"] == ("data" in method.needs)
            assert stated["base"] == ("base" in method.needs)


# What classes do on the small problems of `skfusion.testing` is what their rows say.

FUSED = {
    type(part).__name__: (type(part), method.needs)
    for method in METHODS
    for part in components_of(method)
    if isinstance(part, FUSING)
    and "training" not in method.needs
    and not isinstance(part, LearnedTransformerMatching)  # there are no rotations to learn in the problem
}
CALLED = pytest.mark.parametrize(("cls", "needs"), FUSED.values(), ids=FUSED)


def small(cls):
    """Return a component that does not take long."""
    return cls(**{**next(iter(cls._test_params())), **({"n_steps": 5} if cls is SinkhornRebasin else {})})


def called(cls):
    """Return a function that calls a component on its problem, which is prepared."""
    return laws.problem_of(small(cls))[1]


@CALLED
def test_gradients_are_taken_where_the_row_says_so(cls, needs, monkeypatch):
    call, taken = called(cls), []
    for name in ("backward", "grad"):
        real = getattr(torch.autograd, name)
        monkeypatch.setattr(torch.autograd, name, lambda *a, real=real, **k: taken.append(real) or real(*a, **k))
    call()
    assert bool(taken) == ("gradients" in needs)


@CALLED
def test_labels_count_where_the_row_says_so(cls, needs, monkeypatch):
    if issubclass(cls, Combiner):
        return  # combiners are fitted on their targets, and say by an attribute whether they look
    results = []
    for change in (lambda y: y, lambda y: 1 - y if y.dtype == torch.int64 else y.roll(7, 0)):
        monkeypatch.setattr(laws.problems, "Batch", lambda x, y, change=change: Batch(x, change(y)))
        results.append(laws.problems.snapshot(called(cls)()))
    assert (results[0] != results[1]) == ("labels" in needs)


@CALLED
def test_what_the_row_does_not_name_can_be_left_out(cls, needs):
    if not issubclass(cls, (Merger, Aligner)):
        return
    component = small(cls)
    if issubclass(cls, Aligner):
        (a, b, _), symmetry, data = laws.problems.networks(2)
        calls = {"data": lambda: component(b, a, symmetry, None)}
    else:
        states, base, data = laws.problems.states(), laws.problems.base(), laws.problems.objective()
        calls = {"data": lambda: component(states, base, None), "base": lambda: component(states, None, data)}
    for need, call in calls.items():
        if need in needs:
            with pytest.raises(ValueError, match=r"\w"):
                call()
        else:
            call()


def test_no_word_leads_to_unrelated_methods():
    rows = defaultdict(set)
    for method in METHODS:
        for word in [method.name, *method.aliases]:
            rows[word.casefold()].add(method.name)
    assert not {word: names for word, names in rows.items() if len(names) > 1}


@pytest.mark.parametrize("word", ["SWA", "model soup", "git re-basin", "TIES", "snapshot", "FGE", "LMC", "Caruana"])
def test_what_readers_search_for_leads_to_a_class(word):
    words = {name: {*map(str.casefold, words)} for name, words in catalogue.aliases().items()}
    assert [name for name in words if word.casefold() in words[name]]


def test_the_page_has_all_rows_and_the_filter():
    text = catalogue_page.text()
    assert text.count("\n   * - **") == len(METHODS)
    assert 'id="catalogue-filter"' in text
    assert text.count('name="family"') == len(catalogue.chapters())
    assert text.count('name="have"') == len(catalogue.NEEDS)


def test_the_page_of_a_class_says_where_it_stands():
    page = catalogue_page.with_rows("api/generated/skfusion.collect.Tail", "Tail\n====\n\n.. autoclass:: Tail\n")
    heading, _, rest = page.partition("\n====\n")
    assert heading == "Tail"
    assert "`SWA <../../catalogue/index.html#?q=SWA>`__" in rest.partition(".. autoclass::")[0]
    assert "catalogue" not in catalogue_page.with_rows("api/generated/skfusion.ModelPool", "ModelPool\n=========\n")


def test_each_chapter_has_a_picture_for_light_and_for_dark_pages(tmp_path):
    catalogue_pictures.draw(tmp_path)
    drawn = {path.name: path.read_text("utf-8") for path in tmp_path.iterdir()}
    assert {*drawn} == {f"{name}-{shade}.svg" for name in catalogue.CHAPTERS for shade in ("light", "dark")}
    assert all(chapter.picture for chapter in catalogue.chapters())
    assert drawn["alignment-light.svg"] != drawn["alignment-dark.svg"]
    assert matplotlib.rcParams["svg.fonttype"] == "path"  # as it was
