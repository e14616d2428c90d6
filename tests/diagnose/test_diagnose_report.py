"""Whether networks can be merged: pools whose answer is known, and each number by another way."""

import pickle
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
import torch
from reference.barrier import barrier
from rich.console import Console
from sklearn.datasets import load_digits
from skorch import NeuralNetClassifier, NeuralNetRegressor
from torch import nn

from skfusion import EnsembleClassifier, EnsembleRegressor, ModelPool, SoupClassifier
from skfusion._rows import Rows
from skfusion.align import ActivationMatching, MergeMany, WeightMatching
from skfusion.collect import FineTunes, Seeds
from skfusion.diagnose import diagnose
from skfusion.evaluate import WAYS as LINES
from skfusion.landscape import loss_along
from skfusion.merge import Greedy, Uniform
from skfusion.nets import Judge, Runner, mlp_classifier, mlp_regressor
from skfusion.pool import LeakageWarning, Member
from skfusion.repair import Recalibrate, Repair
from skfusion.state import weighted_sum
from skfusion.tracing import symmetry_of

DATA, LABELS = load_digits(return_X_y=True)
DATA = DATA.astype(np.float32)
TRAIN, TEST = slice(0, 900), slice(900, 1300)
X, y = DATA[TEST], LABELS[TEST]
NET = mlp_classifier(max_epochs=10, module__hidden=(16, 12))
NORM = mlp_classifier(max_epochs=10, module__hidden=(16, 12), module__norm="batch")
WAYS = ["soup", "align then soup", "connect", "ensemble", "distill", "keep the best"]


def trained(net, collect):
    return EnsembleClassifier(net, collect=collect, random_state=0).fit(DATA[TRAIN], LABELS[TRAIN]).pool_


def permuted(member, name, seed, noise):
    """A copy of a member with its units in another order, and some noise on all weights."""
    runner = Runner(member.net, "classification", Rows(X, y))
    symmetry = symmetry_of(runner.module, torch.from_numpy(X[:4]))
    generator = torch.Generator().manual_seed(seed)
    moved = symmetry.permute(symmetry.sample(seed), member.state)
    noisy = {k: t + noise * torch.randn(t.shape, generator=generator) if "layers" in k else t for k, t in moved.items()}
    return member.replace(name=name, state=noisy)


@pytest.fixture(scope="module")
def seeds():
    return trained(NET, Seeds(3))


@pytest.fixture(scope="module")
def norms():
    return trained(NORM, Seeds(2))


@pytest.fixture(scope="module")
def apart(seeds):
    return diagnose(seeds[:2], X, y)


@pytest.fixture(scope="module")
def tunes():
    return trained(NET, FineTunes(n_members=3, init=10))


@pytest.fixture(scope="module")
def copies(seeds):
    return seeds.replace([seeds[0], *(permuted(seeds[0], f"copy-{k}", k, 0.01) for k in (1, 2))])


def verdicts(report):
    return dict(report.advice["verdict"])


# ---- pools of which the answer is known --------------------------------------------------------------------------


def test_fine_tunes_of_one_start_are_a_soup(tunes):
    report = diagnose(tunes, X, y)
    assert [*report.advice.index] == WAYS
    assert verdicts(report)["soup"] == "yes"
    assert verdicts(report)["align then soup"] == verdicts(report)["connect"] == "no"
    assert "not needed" in report.advice["why"]["align then soup"]
    assert report.basins == [tuple(tunes.names)]
    assert report.pairs[["cosine", "sign_conflict"]].notna().all(axis=None)
    assert (report.pairs["fall_line"] <= 0.02).all()
    assert f"{report.pool['soup']:.3f}" in report.advice["why"]["soup"]


def test_permuted_copies_are_a_soup_after_alignment(copies):
    report = diagnose(copies, X, y)
    assert verdicts(report)["soup"] == "no"
    assert verdicts(report)["align then soup"] == "yes"
    assert verdicts(report)["connect"] == "no"
    assert report.pairs["fall_line"].min() > 0.1
    assert report.pairs["fall_weights"].max() < 0.02
    assert report.pool["soup"] < report.pool["best_member"] - 0.3
    assert report.pool["soup_weights"] > report.pool["best_member"] - 0.02
    assert "With units matched by" in report.advice["why"]["align then soup"]
    assert report.basins == [(name,) for name in copies.names]
    assert report.pairs[["cka_mean", "agreement"]].min(axis=None) > 0.95  # they compute the same


def test_two_seeds_are_an_ensemble_or_a_curve(seeds, apart):
    assert verdicts(apart)["soup"] == verdicts(apart)["align then soup"] == "no"
    assert verdicts(apart)["connect"] == "yes"
    assert verdicts(apart)["keep the best"] == "yes"
    best = max(apart.members["score"])
    for how in LINES:
        assert apart.pairs[f"fall_{how}"].iloc[0] > 0.02
    assert "even with units matched by" in apart.advice["why"]["connect"]
    assert "CurveClassifier(collect=pool, align=" in apart.advice["why"]["connect"]
    assert apart.advice["training"]["connect"] == "1 curve"
    one, many = apart.recommendation
    name = apart.members["score"].idxmax()
    assert one.startswith(f"For one network, keep {name!r}: its accuracy is {best:.3f}")
    note = next(note for note in apart.notes if "greedy" in note)
    assert f"A greedy soup of these members is {name!r} alone" in note
    greedy = SoupClassifier(collect=seeds[:2], merge=Greedy()).fit(X, y)
    assert [n for n, w in greedy.member_weights_.items() if w] == [name]  # the note says what the merger does
    gain = apart.pool["ensemble"] - best
    assert verdicts(apart)["ensemble"] == "yes"  # test_diagnose_verdicts.py has the rule
    assert gain > 0
    assert "average the predictions of both" in many


class Other(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(1, 1, bias=False))


def regressor(module):
    return NeuralNetRegressor(module, train_split=None, verbose=0)


def values(**weights):
    """Members that multiply by a number; those in capitals are of another architecture."""
    members = []
    for name, w in weights.items():
        key, kind = ("0.weight", Other) if name.isupper() else ("weight", nn.Linear)
        net = regressor(Other) if kind is Other else regressor(nn.Linear(1, 1, bias=False))
        members.append(Member(name, {key: torch.tensor([[w]])}, net=net))
    return ModelPool(members)


LINE = np.array([[1.0], [-1.0], [3.0], [-3.0]], np.float32)  # mean square 5; targets 2 x have variance 20


def test_unlike_architectures_are_an_ensemble_or_a_teacher():
    report = diagnose(values(low=1.0, HIGH=3.0), LINE, 2 * LINE[:, 0])
    assert verdicts(report) == dict(zip(WAYS, ["no", "no", "no", "yes", "yes", "yes"], strict=True))
    assert report.pool.to_dict() == pytest.approx({"best_member": 0.75, "mean_member": 0.75, "ensemble": 1})
    assert report.pairs["reason"].tolist() == ["other architecture: weight"]
    assert report.pairs.drop(columns=["reason", "agreement"]).isna().all(axis=None)
    assert report.pairs["agreement"].iloc[0] == pytest.approx(1)
    assert "'weight'" in report.advice["why"]["soup"]
    assert "Only their predictions can be averaged" in report.advice["why"]["soup"]
    assert "average the predictions of both: 1.000, 0.250 above 'low'" in report.recommendation.best_score
    assert "EnsembleRegressor" in report.recommendation.best_score
    text = str(report)
    for word in ("No average", "uniform soup", "BatchNorm", "line between"):
        assert word not in text
    assert "A fall is" not in report.to_html()


def test_weak_members_of_other_architectures_are_left_out_of_the_ensemble():
    report = diagnose(values(low=1.0, HIGH=-5.0), LINE, 2 * LINE[:, 0])
    (note,) = [note for note in report.notes if "leave it out" in note]
    assert note.startswith("'HIGH' scores")
    assert "leave it out of the ensemble, and see" in note


def test_some_of_one_architecture_are_compared_among_themselves():
    report = diagnose(values(a=1.0, B=3.0, c=2.9, d=1.1), LINE, 2 * LINE[:, 0])
    known = report.pairs["fall_line"].notna()
    assert [*report.pairs.index[known]] == [("a", "c"), ("a", "d"), ("c", "d")]
    assert [*report.pairs.index[report.pairs["reason"] != ""]] == [("a", "B"), ("B", "c"), ("B", "d")]
    assert report.basins == [("a", "c", "d"), ("B",)]  # the score is concave in one weight: no line falls
    assert report.advice.loc["soup", "verdict"] == "maybe"
    assert "Some members share a basin: a soup of 'a', 'c' and 'd' scores 0.972" in report.advice["why"]["soup"]
    assert report.recommendation.one_network.startswith("For one network, take the soup of 'a', 'c' and 'd'")
    assert "SoupRegressor(collect=pool[['a', 'c', 'd']], merge=Uniform())" in report.recommendation.one_network


def scaled(member, n_hidden, c):
    """The same function: what BatchNorm gives is c times as large, and the weights that read it as much smaller."""
    state = dict(member.state)
    for k in range(0, 3 * n_hidden - 3, 3):
        for key, factor in ((f"{k + 1}.weight", c), (f"{k + 1}.bias", c), (f"{k + 3}.weight", 1 / c)):
            state[f"layers.{key}"] = state[f"layers.{key}"] * factor
    return member.replace(name="scaled", state=state)


def test_batch_norm_is_found_guilty():
    (member,) = trained(mlp_classifier(max_epochs=10, module__hidden=(16, 12, 12, 12), module__norm="batch"), Seeds(1))
    report = diagnose(ModelPool([member, scaled(member, 4, 100.0)]), X, y)
    pair = report.pairs.iloc[0]
    assert pair["agreement"] == 1
    assert pair["fall_raw"] > 0.1
    assert pair["fall_line"] <= 0.02
    assert verdicts(report)["soup"] == "yes"
    assert report.pool["soup_raw"] < report.pool["soup"] - 0.1
    note = next(note for note in report.notes if "culprit" in note)
    assert f"{pair['fall_raw']:.3f}" in note
    assert "between 1 of 1 pairs" in note
    assert f"would score {report.pool['soup_raw']:.3f}" in report.advice["why"]["soup"]


def test_members_of_two_basins_are_told_apart(seeds):
    near = [m.replace(name=f"{m.name}b", state={k: t * 1.001 for k, t in m.state.items()}) for m in seeds[:2]]
    pool = seeds.replace([seeds[0], seeds[1], *near])
    report = diagnose(pool, X, y, n_points=5)
    assert report.basins == [("seed-0", "seed-0b"), ("seed-1", "seed-1b")]
    assert verdicts(report)["soup"] == "maybe"
    soup = SoupClassifier(collect=pool[["seed-1", "seed-1b"]], merge=Uniform()).fit(X, y).score(X, y)
    assert f"a soup of 'seed-1' and 'seed-1b' scores {soup:.3f}" in report.advice["why"]["soup"]


def test_weak_and_equal_members_are_named(seeds):
    generator = torch.Generator().manual_seed(0)
    noise = {k: torch.randn(t.shape, generator=generator) if "layers" in k else t for k, t in seeds[0].state.items()}
    twin = seeds[0].replace(name="twin")
    close = seeds[0].replace(name="close", state={k: t * 1.0001 for k, t in seeds[0].state.items()})
    others = [twin, close, seeds[0].replace(name="noise", state=noise)]
    report = diagnose(seeds.replace([seeds[0], *others]), X, y, n_points=3)
    text = "\n".join(report.notes)
    assert re.search(r"'noise' scores 0\.\d+, 0\.\d+ below the median of the others: leave it out", text)
    assert "'seed-0' and 'twin' are the same network up to rounding" in text
    assert "'seed-0' and 'close' are nearly equal, 0.0001 of their length apart" in text
    same = diagnose(seeds.replace([seeds[0], twin]), X, y, n_points=3)
    assert set(verdicts(same).values()) <= {"no", "yes"}
    assert verdicts(same)["keep the best"] == "yes"


def test_a_flat_line_with_a_weak_end_asks_for_a_choice():
    report = diagnose(values(good=2.0, bad=-2.0), LINE, 2 * LINE[:, 0])
    assert report.pairs["fall_line"].iloc[0] == 0
    assert verdicts(report)["soup"] == "maybe"
    assert "choose by Greedy()" in report.advice["why"]["soup"]
    assert verdicts(report)["connect"] == verdicts(report)["align then soup"] == "no"


# ---- numbers by another way --------------------------------------------------------------------------------------


@pytest.mark.parametrize("net", [NET, NORM], ids=["plain", "batch-norm"])
def test_each_number_by_another_way(net):
    pool = trained(net, Seeds(2))
    report = diagnose(pool, X, y, n_points=5)
    pair = report.pairs.iloc[0]
    rows = Rows(X, y)
    run = Runner(net if pool[0].net is None else pool[0].net, "classification", rows)
    data = Judge(run, rows, rows)
    a, b = pool.states
    symmetry = symmetry_of(run.module, torch.from_numpy(X[:4]))
    ts = [0, 0.25, 0.5, 0.75, 1]
    ways = {
        "raw": (b, None),
        "line": (b, Recalibrate()),
        "weights": (WeightMatching()(b, a, symmetry).apply(b), Recalibrate()),
        "activations": (ActivationMatching()(b, a, symmetry, data).apply(b), Recalibrate()),
    }
    if net is NET:
        ways |= {f"{how}_repair": (ways[how][0], Repair()) for how in ("weights", "activations")}
    else:
        ways |= {f"{how}_repair": ways[how] for how in ("weights", "activations")}
    for how, (end, repair) in ways.items():
        states = [weighted_sum([a, end], [1 - t, t]) for t in ts]
        states = [a, *(s if repair is None else repair(s, [a, end], data) for s in states[1:-1]), end]
        assert pair[f"barrier_{how}"] == pytest.approx(barrier(ts, [data.loss(s) for s in states]), abs=1e-4)
        scores = [np.mean(run.predict(s, X).argmax(1) == y) for s in states]
        assert pair[f"fall_{how}"] == pytest.approx(barrier(ts, [-s for s in scores]), abs=0.0051)
        assert pair[f"midpoint_{how}"] == pytest.approx(scores[2], abs=0.0051)  # ties of two rows, by rounding
        assert report.profiles[pair.name][how].barrier == pair[f"barrier_{how}"]
    predictions = [run.predict(s, X) for s in (a, b)]
    assert pair["agreement"] == np.mean(predictions[0].argmax(1) == predictions[1].argmax(1))
    ensemble = EnsembleClassifier(collect=pool).fit(X, y)
    assert report.pool["ensemble"] == ensemble.score(X, y)
    assert report.members["score"].tolist() == [np.mean(p.argmax(1) == y) for p in predictions]
    assert report.members["loss"].tolist() == pytest.approx([data.loss(s) for s in (a, b)])


def test_soups_are_those_that_the_recommended_estimator_makes(copies):
    report = diagnose(copies, X, y, n_points=3)
    recipes = {
        "soup": {},
        "soup_weights": {"align": MergeMany()},
        "soup_weights_repair": {"align": MergeMany(), "repair": Repair()},
        "soup_activations": {"align": ActivationMatching()},
        "soup_activations_repair": {"align": ActivationMatching(), "repair": Repair()},
    }
    for name, parts in recipes.items():
        assert report.pool[name] == SoupClassifier(collect=copies, merge=Uniform(), **parts).fit(X, y).score(X, y)
    text = " ".join(report.recommendation)
    scope = {"SoupClassifier": SoupClassifier, "EnsembleClassifier": EnsembleClassifier, "pool": copies}
    scope |= {cls.__name__: cls for cls in (MergeMany, ActivationMatching, Uniform, Repair)}
    said = [eval(code, dict(scope)) for code in re.findall(r"\w+\(collect=.*?\)(?= makes it)", text)]
    assert said
    best = max([*report.pool, *report.members["score"]])
    assert max([report.pool["best_member"], *(e.fit(X, y).score(X, y) for e in said)]) == best


def test_networks_without_batch_norm_are_measured_once(apart):
    profiles = apart.profiles[("seed-0", "seed-1")]
    assert profiles["raw"] is profiles["line"]
    assert [*profiles] == [*LINES]


def test_regression_several_outputs_and_other_scores():
    inputs = DATA[:400]
    targets = np.stack([inputs[:, :32].mean(1), inputs[:, 32:].mean(1)], 1)
    net = mlp_regressor(max_epochs=5, module__hidden=(8,))
    pool = EnsembleRegressor(net, collect=Seeds(2), random_state=0).fit(inputs[:200], targets[:200]).pool_
    report = diagnose(pool, inputs[200:], targets[200:], n_points=3)
    assert report.score_name == "R2"
    run = Runner(pool[0].net, "regression", Rows(inputs, targets.astype(np.float32)))
    p, q = (run.predict(s, inputs[200:]) for s in pool.states)
    expected = np.mean([np.corrcoef(p[:, k], q[:, k])[0, 1] for k in range(2)])
    assert report.pairs["agreement"].iloc[0] == pytest.approx(expected, abs=1e-5)
    other = diagnose(pool, inputs[200:], targets[200:], n_points=3, scoring="neg_mean_absolute_error")
    assert (other.members["score"] < 0).all()
    assert other.score_name == "neg_mean_absolute_error"
    assert "known to about" not in " ".join(other.notes)


def test_averaged_predictions_are_scored_in_the_units_of_the_targets():
    targets = 1e6 + DATA[:400, :32].mean(1)  # so far from zero that networks learn standardised ones
    fitted = EnsembleRegressor(mlp_regressor(max_epochs=5, module__hidden=(8,)), collect=Seeds(2), random_state=0)
    fitted.fit(DATA[:200], targets[:200])
    report = diagnose(fitted.pool_, DATA[200:400], targets[200:], n_points=3, scoring="neg_mean_absolute_error")
    error = np.abs(fitted.predict(DATA[200:400]) - targets[200:]).mean()
    assert report.pool["ensemble"] == pytest.approx(-error, rel=1e-4)


def test_several_labels_a_row(seeds):
    two = np.stack([LABELS % 2, LABELS > 4], 1).astype(int)
    net = mlp_classifier(multilabel=True, max_epochs=3, module__hidden=(8,))
    pool = EnsembleClassifier(net, collect=Seeds(2), random_state=0).fit(DATA[TRAIN], two[TRAIN]).pool_
    report = diagnose(pool, X, two[TEST], n_points=3)
    run = Runner(pool[0].net, "multilabel", Rows(X, two[TEST]))
    p, q = (run.predict(s, X) > 0.5 for s in pool.states)
    assert report.pairs["agreement"].iloc[0] == np.mean((p == q).all(1))


def test_networks_without_hidden_units_have_no_frame():
    report = diagnose(values(one=1.0, four=4.0), LINE, 2 * LINE[:, 0])
    aligned = [c for c in report.pairs if "weights" in c or "activations" in c]
    assert len(aligned) == 12
    assert report.pairs[aligned].isna().all(axis=None)
    assert verdicts(report)["align then soup"] == "no"
    assert "No units of Linear can change places" in report.advice["why"]["align then soup"]
    assert report.pool[["soup_weights", "soup_activations_repair"]].isna().all()


def test_a_network_that_cannot_be_traced_is_diagnosed_all_the_same():
    class Strange(nn.Linear):
        def forward(self, X):
            return torch.from_numpy(X.detach().numpy() @ self.weight.detach().numpy().T)

    pool = ModelPool(
        [
            Member(n, {"weight": torch.tensor([[w]])}, net=regressor(Strange(1, 1, bias=False)))
            for n, w in [("a", 1.0), ("b", 2.0)]
        ]
    )
    report = diagnose(pool, LINE, 2 * LINE[:, 0], n_points=3)
    assert report.pool["soup"] == pytest.approx(1 - 0.25 / 4)
    assert verdicts(report)["align then soup"] == "no"


# ---- without data ------------------------------------------------------------------------------------------------


def test_weights_alone_give_distances_and_say_what_data_would_tell(tunes):
    bare = tunes.replace([m.replace(net=None) for m in tunes])
    report = diagnose(bare)
    assert [*report.pairs] == ["distance", "cosine", "sign_conflict", "reason"]
    expected = {m.name: float(sum(t.double().square().sum() for t in m.state.values()) ** 0.5) for m in tunes}
    assert report.members["norm"].to_dict() == pytest.approx(expected)
    assert set(report.advice["verdict"]) == {"maybe"}
    assert "They have a common start" in report.advice["why"]["soup"]
    assert not len(report.pool)
    assert report.basins == []
    assert report.profiles == report.similarity == {}
    for text in (str(report), report.to_html(), *report.recommendation):
        assert "no member was trained on" in text
        assert "nan" not in text


def test_unlike_weights_alone_need_no_data_to_be_told():
    report = diagnose(values(low=1.0, HIGH=3.0))
    assert verdicts(report)["soup"] == verdicts(report)["align then soup"] == "no"
    assert "'weight'" in report.recommendation.one_network


# ---- the report --------------------------------------------------------------------------------------------------


class Balanced(HTMLParser):
    """Checks that each tag is closed in its turn, and keeps what is said and loaded."""

    def __init__(self, text):
        super().__init__()
        self.open, self.said, self.links = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.links += [value for name, value in attrs if name in ("src", "href", "srcset")]
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.said.append(data)


@pytest.fixture(scope="module")
def named(seeds):
    pool = seeds.replace([m.replace(name=n) for m, n in zip(seeds, ["<b>&'\"", "[red]x[/]", "c"], strict=True)])
    return diagnose(pool, X, y, n_points=3)


def test_the_page_is_whole_loads_nothing_and_escapes_names(named, tmp_path):
    text = named.to_html(tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == text
    page = Balanced(text)
    assert not page.open
    assert not page.links
    assert "http" not in text
    assert "<b>&'" not in text
    said = "".join(page.said)
    for word in ("<b>&'\"", "[red]x[/]", *named.recommendation, *named.advice["why"], *named.notes, "layers.0"):
        assert word in said
    assert text.count("<svg") == 3
    assert text.count("<polyline") == 9  # the line, and two alignments, for each pair
    fragment = Balanced(named._repr_html_())
    assert not fragment.open
    assert "<body" not in named._repr_html_()


def test_a_notebook_shows_the_first_of_many_and_says_so(seeds):
    many = ModelPool([seeds[k % 3].replace(name=f"<i>{k}</i>") for k in range(30)], classes=seeds.classes)
    report = diagnose(many)
    shown = report._repr_html_()
    assert len(shown) < 20_000 < len(report.to_html())
    assert "And 10 more members, which the page of to_html() has." in shown
    assert f"And {30 * 29 // 2 - 20} more pairs" in shown
    assert f"And {len(report.notes) - 20} more notes" in shown
    assert not Balanced(shown).open
    assert "<i>" not in shown
    assert "which the page of" not in report.to_html()
    assert "&lt;i&gt;29&lt;/i&gt;" in report.to_html()


def test_a_notebook_takes_the_colours_of_its_theme(named):
    shown = named._repr_html_()
    assert "background: #fff" not in shown
    assert "color: #222" not in shown
    assert not re.search("background:#", shown)  # cells are tinted


def test_the_terminal_shows_all_words_at_any_width(named):
    for width in (80, 200):
        console = Console(width=width, file=None, record=True, quiet=False)
        with console.capture() as captured:
            console.print(named)
        words = " ".join(captured.get().split())
        for sentence in (*named.recommendation, *named.notes, *named.advice["why"]):
            assert " ".join(sentence.split()) in words
        assert "[red]x[/]" in words
        assert max(map(len, captured.get().splitlines())) <= width


@pytest.mark.parametrize("width", [60, 80])
@pytest.mark.parametrize("long", [False, True])
def test_numbers_are_whole_in_a_narrow_terminal(norms, width, long):
    names = [f"a-rather-long-name-of-a-checkpoint-{k}" if long else f"run-{k}" for k in range(2)]
    pool = norms.replace([m.replace(name=name) for m, name in zip(norms, names, strict=True)])
    report = diagnose(pool, X, y, n_points=3)
    console = Console(width=width)
    with console.capture() as captured:
        console.print(report)
    text = captured.get()
    table = text[: text.index("What to do")]
    assert "…" not in table
    assert max(map(len, text.splitlines())) <= width
    pair = report.pairs.iloc[0]
    shown = [*(f"fall_{how}" for how in ("raw", "line", "weights", "activations")), "midpoint_line", "distance"]
    words = table.replace("−", "-").split()
    for name in [*shown, "agreement", "cka_mean", "cka_last"]:
        assert f"{pair[name]:.3f}" in words, name
    for score in [*report.members["score"], *report.members["score_recalibrated"]]:
        assert f"{score:.3f}" in words
    assert ("1 – 2" in table) == long
    if long and width == 80:
        assert f"1: {names[0]}" in table
    if not long:
        assert " ".join(names).replace(" ", " – ") in " ".join(table.split())


def test_text_and_pickles(apart):
    assert repr(apart).startswith("FusionReport(2 members; soup: no, align then soup: no, connect: yes")
    assert str(apart).startswith(apart.recommendation.one_network)
    assert all(note in str(apart) for note in apart.notes)
    again = pickle.loads(pickle.dumps(apart))
    pd.testing.assert_frame_equal(again.pairs, apart.pairs)
    assert again.to_html() == apart.to_html()


def test_nothing_is_changed_and_all_is_repeated(copies, untouched_rng):
    before = [{k: t.clone() for k, t in s.items()} for s in copies.states]
    first, second = (diagnose(copies, X, y, n_points=3) for _ in range(2))
    for old, new in zip(before, copies.states, strict=True):
        assert all(torch.equal(old[k], new[k]) for k in old)
    pd.testing.assert_frame_equal(first.pairs, second.pairs)
    pd.testing.assert_series_equal(first.pool, second.pool)
    assert str(first) == str(second)


# ---- bad input ---------------------------------------------------------------------------------------------------


def test_what_cannot_be_diagnosed(seeds, tmp_path):
    with pytest.raises(ValueError, match="at least two members; the pool has 1"):
        diagnose(seeds[:1], X, y)
    with pytest.raises(TypeError, match="must be a ModelPool; got list.*from_estimators"):
        diagnose([1, 2])
    for data in ((X, None), (None, y)):
        with pytest.raises(ValueError, match="Give both X and y, or neither"):
            diagnose(seeds, *data)
    for n_points in (1, 2, 10):
        with pytest.raises(ValueError, match="n_points must be odd"):
            diagnose(seeds, X, y, n_points=n_points)
    for tolerance in (-0.1, np.nan, np.inf):
        with pytest.raises(ValueError, match="tolerance must be a finite number"):
            diagnose(seeds, X, y, tolerance=tolerance)
    with pytest.raises(ValueError, match="X has 3 rows, which tell nothing"):
        diagnose(seeds, X[:3], y[:3])
    bad = seeds[0].replace(name="bad", state={k: t * torch.nan for k, t in seeds[0].state.items()})
    with pytest.raises(ValueError, match="'bad'"):
        diagnose(seeds.replace([seeds[0], bad]), X, y)


def test_pools_from_files_need_an_estimator(seeds, tmp_path):
    seeds[:2].save(tmp_path / "pool")
    loaded = ModelPool.load(tmp_path / "pool")
    with pytest.raises(ValueError, match="The pool has no net.*estimator="):
        diagnose(loaded, X, y)
    for estimator in (NET, SoupClassifier(NET)):
        found = diagnose(loaded, X, y, estimator=estimator, n_points=3)
        assert found.members["score"].tolist() == diagnose(seeds[:2], X, y, n_points=3).members["score"].tolist()
    with pytest.raises(ValueError, match="another architecture"):
        diagnose(loaded, X, y, estimator=NeuralNetClassifier(nn.Linear(64, 10), criterion=nn.CrossEntropyLoss))
    mixed = ModelPool([loaded[0], Member("other", {"w": torch.ones(2)})])
    with pytest.raises(ValueError, match="different architectures, and no net for 'seed-0'"):
        diagnose(mixed, X, y, estimator=NET)


def test_rows_of_training_are_warned_of(seeds):
    with pytest.warns(LeakageWarning, match="rows used to diagnose the members"):
        diagnose(seeds[:2], DATA[:50], LABELS[:50], n_points=3)


def test_profiles_are_those_of_the_landscape(apart, seeds):
    profile = apart.profiles[("seed-0", "seed-1")]["line"]
    rows = Rows(X, y)
    data = Judge(Runner(seeds[0].net, "classification", rows), rows, rows)
    a, b = seeds[:2].states
    np.testing.assert_allclose(
        profile.loss, loss_along(lambda t: weighted_sum([a, b], [1 - t, t]), data, 11).loss, rtol=1e-4
    )
