"""A pool as a table, and pools and members as notebooks show them."""

import math
import re
from html.parser import HTMLParser

import pytest
import torch
from sklearn.linear_model import Ridge

from skfusion.checkpoints.format import Described
from skfusion.pool import Deferred, Member, ModelPool, about, groups, letter


def member(name, *shape, **known):
    weight = torch.ones(shape or (3, 2))
    return Member(name, {"w": weight, "tied": weight, "steps": torch.tensor(7)}, **known)


def pool():
    history = [{"epoch": e, "train_loss": 1 / e, "valid_loss": 1.5 / e} for e in (1, 2, 3)]
    meta = {"source": "study 'a'", "seed": 3, "epoch": 3, "params": {"lr": 0.1}, "history": history, "task": "movies"}
    return ModelPool(
        [
            member("a", score=0.75, meta=meta),
            member("b", score=0.5, meta={"params": {"lr": 0.2, "hidden": [4, 4]}}),
            member("wide", 30, 2),
            Member("ridge", estimator=Ridge().fit([[0.0], [1.0]], [0.0, 1.0])),
        ]
    )


class Elements(HTMLParser):
    """Collects the elements and texts of a page, and checks that they are closed in order."""

    VOID = ("path", "polyline")

    def __init__(self, page):
        super().__init__()
        self.tags, self.texts, self._open, self.attributes = [], [], [], []
        self.feed(page)
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes.extend(attrs)
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes.extend(attrs)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open[-1:] != ["style"]:
            self.texts.append(data)


def test_a_frame_has_a_row_a_member():
    frame = pool().to_frame()
    assert frame.index.tolist() == ["a", "b", "wide", "ridge"]
    assert frame["score"].tolist()[:2] == [0.75, 0.5]
    assert frame["kind"].tolist() == ["network", "network", "network", "Ridge"]
    assert frame["n_numbers"].tolist()[:3] == [7, 7, 61]  # a tied tensor counts once
    assert frame["n_numbers"].isna().tolist() == [False, False, False, True]
    assert frame["architecture"].tolist()[:3] == ["A", "A", "B"]
    assert frame["params.lr"].tolist()[:2] == [0.1, 0.2]
    assert frame["params.hidden"]["b"] == [4, 4]
    assert frame.loc["a", ["source", "seed", "epoch", "task"]].tolist() == ["study 'a'", 3, 3, "movies"]
    assert "history" not in frame
    assert ModelPool([member("x")]).to_frame().columns.tolist() == ["score", "kind", "n_numbers", "architecture"]


def test_whole_numbers_stay_so_where_some_are_missing():
    members = [member("a", meta={"seed": 7, "epoch": 2}), member("b"), member("c", meta={"seed": 2**53 + 1})]
    frame = ModelPool(members).to_frame()
    assert frame["seed"].tolist()[::2] == [7, 2**53 + 1]
    assert frame["epoch"].dtype == "Int64"
    texts = ModelPool([member("a", meta={"seed": "seven"}), member("b", meta={"seed": 2})]).to_frame()
    assert texts["seed"].tolist() == ["seven", 2]


def test_a_setting_does_not_hide_what_is_known():
    frame = ModelPool([member("x", score=0.5, meta={"score": 9.0, "params": {"kind": "z"}})]).to_frame()
    assert frame["score"].tolist() == [0.5]
    assert frame["params.kind"].tolist() == ["z"]
    assert frame["meta.score"].tolist() == [9.0]


class Unread:
    """Would be read, but must not be."""

    def __init__(self, header=None):
        self._header = header

    def __call__(self):
        raise AssertionError("A file of weights was read.")

    def header(self):
        if isinstance(self._header, Exception):
            raise self._header
        return self._header


@pytest.mark.parametrize("header", [None, {"w": Described((30, 2), "float32")}, OSError("gone")])
def test_nothing_that_is_not_read_yet_is_read(header):
    state, estimator = (Deferred(Unread(header)) for _ in range(2))
    lazy = ModelPool([Member("net", state), Member("other", estimator=estimator), member("here")])
    frame = lazy.to_frame()
    assert frame["kind"].tolist() == ["network", "estimator", "network"]
    is_known = isinstance(header, dict)
    assert frame["n_numbers"].isna().tolist() == [not is_known, True, False]
    if is_known:
        assert frame["n_numbers"]["net"] == 60
    for shown in (lazy, lazy[0], lazy[1]):
        assert "net" in shown._repr_html_() or "other" in shown._repr_html_()


def test_architectures_are_told_apart_by_names_shapes_and_dtypes():
    states = [
        {"w": torch.ones(2)},
        {"w": torch.zeros(2)},
        {"v": torch.ones(2)},
        {"w": torch.ones(2, 1)},
        {"w": torch.ones(2).double()},
        {"w": torch.ones(2), "b": torch.ones(1)},
        {"b": torch.ones(1), "w": torch.ones(2)},
    ]
    assert groups([about(Member(str(i), s)) for i, s in enumerate(states)]) == [0, 0, 1, 2, 3, 4, 4]
    assert [letter(n) for n in (0, 25, 26, 27, 701, 702)] == ["A", "Z", "AA", "AB", "ZZ", "AAA"]


def test_a_pool_is_shown_with_scores_and_bars():
    page = Elements(pool()._repr_html_())
    texts = "|".join(page.texts)
    for part in ("ModelPool of 4 members, 2 architectures", "a|0.75", "b|0.5", "network A", "network B", "Ridge"):
        assert part in texts
    widths = [value for name, value in page.attributes if name == "style" and "width" in value]
    assert widths == ["width:100%", "width:0%"]
    assert "study 'a'" in texts
    assert "bars from the lowest score, 0.5, to the highest, 0.75" in texts


def test_a_large_pool_is_cut():
    large = ModelPool([member(f"m{i}", score=float(i)) for i in range(1234)])
    page = Elements(large._repr_html_())
    assert page.tags.count("tr") == 21
    assert "and 1,214 more" in "".join(page.texts)
    assert "ModelPool of 1,234 members" in "".join(page.texts)


@pytest.mark.parametrize("score", [math.nan, math.inf, 0.5])
def test_scores_that_are_all_equal_or_unknown_have_no_bars(score):
    page = ModelPool([member("a", score=score), member("b", score=score)])._repr_html_()
    assert 'class="bar"' not in page


def test_a_member_is_shown_with_its_settings_tensors_and_learning_curve():
    page = Elements(pool()["a"]._repr_html_())
    texts = "|".join(page.texts)
    for part in ("lr|0.1", "seed|3", "task|movies", "2 tensors, 7 numbers", "w|3 × 2|float32", "steps|number|int64"):
        assert part in texts
    assert page.tags.count("polyline") == 2
    assert "train_loss: 1 → 0.3333" in texts
    assert "details" in page.tags
    ridge = Elements(pool()["ridge"]._repr_html_())
    assert "Ridge" in ridge.texts
    assert "svg" not in ridge.tags


@pytest.mark.parametrize(
    "history",
    [None, "text", 7, [], [1, 2], [{"train_loss": "x"}] * 3, [{"train_loss": math.nan}] * 3, [{"train_loss": 1.0}], {}],
)
def test_a_history_that_is_none_has_no_curve(history):
    page = Elements(member("a", meta={"history": history})._repr_html_())
    assert "svg" not in page.tags


def test_a_long_history_is_thinned_and_a_constant_one_drawn():
    history = [{"train_loss": 1.0, "valid_loss": float(i)} for i in range(5000)]
    page = member("a", meta={"history": history})._repr_html_()
    points = re.findall(r'points="([^"]*)"', page)
    assert [len(line.split()) for line in points] == [200, 200]
    assert "nan" not in page
    constant = member("a", meta={"history": [{"train_loss": 1.0}] * 4})._repr_html_()
    assert "nan" not in re.search(r'points="([^"]*)"', constant)[1]


WICKED = '<script>alert("x")</script>\'"><img src=x onerror=alert(1)>'


def test_what_strangers_write_is_text():
    wicked = Member(
        WICKED,
        {WICKED: torch.ones(2)},
        score=0.5,
        meta={
            "source": WICKED,
            WICKED: WICKED,
            "params": {WICKED: WICKED, "list": [WICKED]},
            "history": [{"train_loss": 1.0, WICKED: WICKED}] * 3,
        },
    )
    of_class = type(WICKED, (), {"predict": None})()
    shown = ModelPool([wicked, Member("b", estimator=of_class, score=0.25)], classes=[WICKED, "b"])
    for page in (shown._repr_html_(), wicked._repr_html_(), shown[1]._repr_html_()):
        elements = Elements(page)
        assert not {"script", "img"} & set(elements.tags)
        assert not any(name.startswith("on") for name, _ in elements.attributes)
    assert any("<script>" in text for text in Elements(wicked._repr_html_()).texts)


def test_long_texts_are_cut():
    page = member("n" * 5000, meta={"source": "s" * 5000, "other": "o" * 5000})._repr_html_()
    assert len(page) < 6000


def test_scores_that_are_not_finite_are_said():
    scores = [0.5, math.nan, 0.25, math.inf]
    shown = "".join(Elements(ModelPool([member(f"m{k}", score=s) for k, s in enumerate(scores)])._repr_html_()).texts)
    assert "bars from the lowest score, 0.25, to the highest, 0.5; 2 have no finite score" in shown
    one = ModelPool([member("a", score=0.5), member("b")])
    assert "1 has no finite score" in "".join(Elements(one._repr_html_()).texts)
    none = ModelPool([member("a"), member("b")])
    assert "finite" not in "".join(Elements(none._repr_html_()).texts)  # of scores that nobody knows


def test_losses_that_are_not_finite_are_said():
    history = [{"train_loss": loss} for loss in (1.0, math.nan, 0.5, math.inf)]
    shown = "".join(Elements(member("a", meta={"history": history})._repr_html_()).texts)
    assert "train_loss: 1 → 0.5, over 4 epochs; 2 that are not finite are left out" in shown
