"""What a diagnosis takes for a fact: gains beyond chance, rows for statistics, and code that gives what it promises."""

import re

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.metrics import get_scorer
from skorch import NeuralNetRegressor
from torch import nn

from skfusion import CurveClassifier, EnsembleClassifier, ModelPool, SoupClassifier
from skfusion._rows import Rows, unlabelled
from skfusion.align import ActivationMatching, MergeMany, WeightMatching
from skfusion.collect import FineTunes, Seeds
from skfusion.connect import Line
from skfusion.data import score_function
from skfusion.diagnose import diagnose, pairwise
from skfusion.diagnose.measure._paired import by_row, doubt
from skfusion.merge import Uniform
from skfusion.nets import Judge, Runner, mlp_classifier
from skfusion.objective import Batch, ModuleObjective
from skfusion.pool import LeakageWarning, Member
from skfusion.repair import Recalibrate, Repair
from skfusion.state import weighted_sum
from skfusion.tracing import symmetry_of

DATA, LABELS = load_digits(return_X_y=True)
DATA = DATA.astype(np.float32)
TRAIN, FIT, TEST = slice(0, 800), slice(800, 1100), slice(1100, 1500)
X, y = DATA[TEST], LABELS[TEST]
NET = mlp_classifier(max_epochs=10, module__hidden=(16, 12))
NORM = mlp_classifier(max_epochs=10, module__hidden=(16, 12), module__norm="batch")
SCOPE = {
    part.__name__: part
    for part in (SoupClassifier, EnsembleClassifier, CurveClassifier, MergeMany, WeightMatching, ActivationMatching)
}
SCOPE |= {"Uniform": Uniform, "Repair": Repair}


def trained(net, collect):
    return EnsembleClassifier(net, collect=collect, random_state=0).fit(DATA[TRAIN], LABELS[TRAIN]).pool_


@pytest.fixture(scope="module")
def seeds():
    return trained(NET, Seeds(3))


@pytest.fixture(scope="module")
def norms():
    return trained(NORM, Seeds(2))


def note(report, word):
    found = [text for text in report.notes if word in text]
    assert len(found) == 1
    return found[0]


# ---- gains beyond chance -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scoring", "task"),
    [
        (None, "classification"),
        ("accuracy", "classification"),
        ("neg_log_loss", "classification"),
        (None, "multilabel"),
        (None, "regression"),
        ("r2", "regression"),
        ("neg_mean_squared_error", "regression"),
    ],
)
def test_scores_are_made_up_of_rows(scoring, task):
    rng = np.random.default_rng(0)
    Y = {
        "classification": rng.integers(3, size=50),
        "multilabel": rng.integers(2, size=(50, 2)),
        "regression": rng.normal(size=(50, 2)),
    }[task]
    rows, score, parts = Rows(np.zeros((50, 1)), Y), score_function(scoring, task), by_row(scoring, task)
    for _ in range(3):
        P = rng.dirichlet([1, 1, 1], 50) if task == "classification" else rng.random((50, 2))
        assert parts(P, rows).shape == (50,)
        assert parts(P, rows).mean() == pytest.approx(score(P, rows), rel=1e-9)


def test_other_scores_are_not_taken_apart():
    for scoring in ("roc_auc", "neg_mean_absolute_error", get_scorer("accuracy")):
        assert by_row(scoring, "classification") is None


def test_doubt_is_two_standard_errors_of_the_difference():
    one, other = np.array([1.0, 1, 0, 1]), np.array([1.0, 0, 0, 1])
    assert doubt(one, other, 0.3) == pytest.approx(2 * 0.5 / 2)  # differences 0, 1, 0, 0: standard deviation 0.5
    assert doubt(one + other, other, 0.3) == doubt(one, 0 * other, 0.3)
    assert doubt(None, other, 0.3) == doubt(one, None, 0.3) == 0.3
    assert doubt(one, other * np.nan, 0.3) == 0.3


class Other(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(1, 1, bias=False))


def two(low, high):
    """Two architectures that multiply by a number."""
    members = [
        Member(name, {key: torch.tensor([[w]])}, net=NeuralNetRegressor(module, train_split=None, verbose=0))
        for name, key, w, module in [
            ("low", "weight", low, nn.Linear(1, 1, bias=False)),
            ("high", "0.weight", high, Other),
        ]
    ]
    return ModelPool(members)


def test_a_gain_within_two_standard_errors_is_a_maybe():
    """The ensemble gives 2, the members 1 and 3: less the squares of the ensemble, those of 'low' are 1, 1, 1, -0.6."""
    inputs, targets = np.ones((4, 1), np.float32), np.array([2, 2, 2, 1.2])
    report = diagnose(two(1.0, 3.0), inputs, targets)
    spread = targets.var()
    gain, error = 0.6 / spread, 0.8 / spread  # the standard deviation is 0.8, of which half, doubled, is told
    assert report.pool["ensemble"] - report.pool["best_member"] == pytest.approx(gain)
    assert dict(report.advice["verdict"][["ensemble", "distill"]]) == {"ensemble": "maybe", "distill": "maybe"}
    told = f"On 4 rows, they are not told apart: two standard errors of the difference are {error:.3f}."
    assert told in report.advice["why"]["ensemble"]
    assert told in report.advice["why"]["distill"]
    assert told in report.recommendation.best_score
    sure = diagnose(two(1.0, 3.0), inputs * [[1], [2], [1], [2]], np.array([2.0, 4, 2, 4]))  # 1, 4, 1, 4: 2.5 above 1.7
    assert sure.advice["verdict"]["ensemble"] == "yes"
    assert "not told apart" not in str(sure)


def test_gains_of_other_scores_count_beyond_the_tolerance():
    inputs, targets = np.ones((4, 1), np.float32), np.array([2, 2, 2, 1.2])
    found = [
        diagnose(two(1.0, 3.0), inputs, targets, scoring="neg_mean_absolute_error", tolerance=tolerance)
        for tolerance in (0.5, 0.7)
    ]  # the gain is (1 + 1 + 1 - 0.6) / 4 = 0.6
    assert [report.advice["verdict"]["ensemble"] for report in found] == ["yes", "maybe"]
    assert "They are within the tolerance, 0.7" in found[1].advice["why"]["ensemble"]


@pytest.mark.parametrize("n", [60, 400])
def test_verdicts_on_ensembles_follow_from_the_rows(seeds, n):
    rows = Rows(X[:n], y[:n])
    report = diagnose(seeds[:2], rows.X, rows.y, n_points=3)
    run = Runner(seeds[0].net, "classification", rows)
    P = np.stack([run.predict(s, rows.X) for s in seeds[:2].states])
    right = [*(p.argmax(1) == rows.y for p in P), P.mean(0).argmax(1) == rows.y]
    best = max(right[:2], key=np.mean)
    change = right[2].astype(float) - best
    beyond = change.mean() > 2 * change.std(ddof=1) / np.sqrt(n)
    assert report.pool["soup"] < report.pool["best_member"]
    assert report.advice["verdict"]["ensemble"] == ("yes" if beyond else "maybe" if change.mean() > 0 else "no")
    assert ("not told apart" in report.advice["why"]["ensemble"]) == (change.mean() > 0 and not beyond)


def test_an_ensemble_below_one_network_is_a_no():
    """The ensemble gives 2, and the members 1 and 3, of which the first is right: however large the tolerance."""
    inputs, targets = np.ones((4, 1), np.float32), np.array([1.0, 1, 1, 1.4])
    for scoring in (None, "neg_mean_absolute_error"):
        report = diagnose(two(1.0, 3.0), inputs, targets, scoring=scoring, tolerance=100)
        assert report.pool["ensemble"] < report.pool["best_member"]
        assert report.advice["verdict"]["ensemble"] == "no"
        assert "below the best member, 'low'." in report.advice["why"]["ensemble"]


def test_a_soup_that_beats_the_ensemble_is_named(seeds):
    copies = seeds.replace([moved(seeds[0], f"copy-{k}", k) for k in range(3)])
    report = diagnose(copies, X, y, n_points=3)
    soup = max(report.pool[[key for key in report.pool.index if key.startswith("soup")]])
    assert soup > max(report.pool["ensemble"], report.pool["best_member"])
    assert report.advice["verdict"]["ensemble"] == "no"
    found = f"The best one network is the uniform soup with units matched by .*, {soup:.3f}\\."
    assert re.search(found, report.advice["why"]["ensemble"])


# ---- members with recalibrated statistics ------------------------------------------------------------------------


def stale(norms, share=0.3):
    """Copies of a network, with some noise, whose running statistics lag behind."""
    found = []
    for k in range(2):
        generator = torch.Generator().manual_seed(k)
        noisy = {n: t + 1e-3 * torch.randn(t.shape, generator=generator) for n, t in norms[0].state.items() if t.dim()}
        late = {n: share * t + (1 - share) * float("var" in n) if "running" in n else t for n, t in noisy.items()}
        found.append(norms[0].replace(name=f"late-{k}", state={**norms[0].state, **late}))
    return ModelPool(found)


@pytest.mark.parametrize("own_fit", [False, True])
def test_members_are_judged_with_recalibrated_statistics(norms, own_fit):
    pool = stale(norms, 0.1)
    report = diagnose(pool, X, y, n_points=3, X_fit=DATA[FIT] if own_fit else None)
    held, fit = Rows(X, y), unlabelled(DATA[FIT] if own_fit else X)
    run = Runner(norms[0].net, "classification", held)
    data = Judge(run, fit, held)
    mended = pool.replace([m.replace(state=Recalibrate()(m.state, [], data)) for m in pool])
    for part, column in ((pool, "score"), (mended, "score_recalibrated")):
        expected = [np.mean(run.predict(s, X).argmax(1) == y) for s in part.states]
        assert report.members[column].tolist() == expected
    assert (report.members["score_recalibrated"] > report.members["score"] + 0.02).all()
    text = note(report, "lag behind")
    where = "rows of X_fit" if own_fit else "these rows"
    own, better = report.members.loc["late-1", ["score", "score_recalibrated"]]
    assert f"recalibrated on {where}, 'late-0' alone scores" in text
    assert f"'late-1' alone scores {better:.3f}, and {own:.3f} with its own: their running statistics" in text
    assert "falls look smaller than they are" in text
    assert "recalibrated" in report.to_html()
    code = re.search(r"merge: (pool\.replace\(.*\)), where data = (ModuleObjective\(.*\)) holds", text)
    scope = {
        "pool": pool,
        "Recalibrate": Recalibrate,
        "ModuleObjective": ModuleObjective,
        "Batch": Batch,
        "module": run.module,
    }
    scope |= {"x": torch.from_numpy(np.asarray(fit.X)), "y": torch.zeros(len(fit))}
    again = eval(code[1], {**scope, "data": eval(code[2], scope)})
    for one, other in zip(again.states, mended.states, strict=True):
        assert all(torch.allclose(one[k], other[k], rtol=1e-4, atol=1e-5) for k in one)
    fresh = diagnose(again, X, y, n_points=3, X_fit=DATA[FIT] if own_fit else None)
    assert not [text for text in fresh.notes if "lag behind" in text]
    assert fresh.members["score"].tolist() == pytest.approx(report.members["score_recalibrated"], abs=0.005)


def test_a_soup_that_a_recalibrated_member_beats_is_a_maybe(norms):
    """A member whose statistics lag far behind, and a worse one beside it: their soup lies between these two."""
    both = diagnose(stale(norms), X, y, n_points=3)
    assert both.advice["verdict"]["soup"] == "yes"  # it has all that recalibration gives
    late = stale(norms, 0.02)[0]
    generator = torch.Generator().manual_seed(0)
    weights = {k: t for k, t in late.state.items() if t.dim() == 2}
    noise = {k: t.std() / 2 * torch.randn(t.shape, generator=generator) for k, t in weights.items()}
    bad = late.replace(name="bad", state={k: t + noise.get(k, 0) for k, t in late.state.items()})
    report = diagnose(ModelPool([late, bad]), X, y, n_points=3)
    soup, alone = report.pool["soup"], report.members["score_recalibrated"].max()
    assert (report.pairs["fall_line"] <= 0.02).all()
    assert alone > soup + 0.02 > report.pool["best_member"]
    assert report.advice["verdict"]["soup"] == "maybe"
    told = f"'late-0' with recalibrated statistics scores {alone:.3f} alone, which is more."
    assert report.advice["why"]["soup"].endswith(told)
    assert report.recommendation.one_network.startswith("For one network, take 'late-0' with recalibrated statistics")
    assert report.advice["verdict"]["keep the best"] == "maybe"


def test_networks_without_batch_norm_have_nothing_to_recalibrate(seeds):
    report = diagnose(seeds[:2], X, y, n_points=3)
    assert report.members["score_recalibrated"].equals(report.members["score"].rename("score_recalibrated"))
    assert diagnose(seeds[:2]).members["score_recalibrated"].isna().all()
    assert "lag behind" not in str(report)


@pytest.mark.parametrize(("right", "bounds"), [(True, "0.556 and 1.000"), (False, "0.000 and 0.444")])
def test_few_rows_tell_little_of_any_accuracy(seeds, right, bounds):
    """Of 5 rows all or none are right: by Wilson's interval of two standard errors, 5 / 9 and more, or 4 / 9."""
    run = Runner(seeds[0].net, "classification", Rows(X, y))
    said = np.stack([run.predict(s, X[:5]).argmax(1) for s in seeds.states[:2]])
    free = [min({*range(10)} - {*here}) for here in said.T]
    report = diagnose(seeds[:2], X[:5], said[0] if right else np.array(free), n_points=3)
    assert report.pool["best_member"] == right
    assert f"On 5 rows, an accuracy of {right:.3f} is known to lie between about {bounds};" in note(report, "On 5 rows")


def test_rows_on_one_network_do_not_contradict_each_other(seeds):
    tunes = trained(NET, FineTunes(n_members=3, init=10))
    for pool in (tunes, seeds):
        verdict = diagnose(pool, X, y, n_points=3).advice["verdict"]
        merges = "yes" in (verdict["soup"], verdict["align then soup"])
        assert merges == (pool is tunes)
        assert not (merges and verdict["keep the best"] == "yes")


def test_keeping_the_best_gives_way_to_a_soup_that_is_as_good(seeds):
    near = seeds[0].replace(name="near", state={k: t * 1.001 for k, t in seeds[0].state.items()})
    report = diagnose(ModelPool([seeds[0], near]), X, y, n_points=3)
    assert report.pool["soup"] <= report.pool["best_member"]
    assert report.advice["verdict"]["soup"] == "yes"
    assert report.advice["verdict"]["keep the best"] == "maybe"
    assert "'soup' is a yes" in report.advice["why"]["keep the best"]


# ---- rows for statistics -----------------------------------------------------------------------------------------


def test_statistics_come_from_rows_of_their_own(norms):
    one = y == 0
    alone = diagnose(norms, X[one], y[one], n_points=3)
    report = diagnose(norms, X[one], y[one], X_fit=DATA[FIT], n_points=3)
    held, fit = Rows(X[one], y[one]), unlabelled(DATA[FIT])
    run = Runner(norms[0].net, "classification", held)
    data = Judge(run, fit, held)
    a, b = norms.states
    symmetry = symmetry_of(run.module, torch.from_numpy(X[:4]))
    matched = ActivationMatching()(b, a, symmetry, data).apply(b)
    for how, end in (("line", b), ("activations", matched)):
        state = Recalibrate()(weighted_sum([a, end], [0.5, 0.5]), [a, end], data)
        score = np.mean(run.predict(state, held.X).argmax(1) == 0)
        assert report.pool["soup" if how == "line" else f"soup_{how}"] == score
        assert report.pairs[f"midpoint_{how}"].iloc[0] == score
    assert report.pool["soup"] != alone.pool["soup"]
    assert report.members.drop(columns="score_recalibrated").equals(alone.members.drop(columns="score_recalibrated"))
    assert f"on 300 rows of their own (X_fit), and scores are of {one.sum()} others" in note(report, "estimated and")
    text = note(alone, "estimated and")
    assert f"on the {one.sum()} rows that are judged" in text
    assert text in alone.to_html()
    assert "Activations were matched on the 400 rows" in note(
        diagnose(trained(NET, Seeds(2)), X, y, n_points=3), "that are judged"
    )


def test_harm_of_recalibration_and_few_rows_are_told(norms):
    """A network and one that computes the same: their mean is right as it is, and wrong on statistics of one row."""
    weights = {k: t * 1.0001 if "layers" in k and t.is_floating_point() else t for k, t in norms[0].state.items()}
    twin = norms[0].replace(name="twin", state=weights)
    pool = ModelPool([norms[0], twin])
    fit = np.repeat(X[:2], 10, axis=0)
    report = diagnose(pool, X, y, X_fit=fit, n_points=3)
    raw, soup = report.pool[["soup_raw", "soup"]]
    assert raw > soup + 0.1
    text = note(report, "did harm")
    assert f"the uniform soup scores {soup:.3f}, and {raw:.3f} without" in text
    assert "between 1 of 1 pairs" in text
    assert f"Without recalibrated BatchNorm statistics the soup would score {raw:.3f}" in report.advice["why"]["soup"]
    assert "come from 20 rows only" in note(report, "uncertain")
    plain = diagnose(pool, X, y, X_fit=DATA[FIT], n_points=3)
    assert not [text for text in plain.notes if "harm" in text or "rows only" in text]


def test_rows_for_statistics_that_cannot_be_used(norms):
    with pytest.raises(ValueError, match="X_fit does not go with X: .*63 features"):
        diagnose(norms, X, y, X_fit=X[:, 1:])
    with pytest.raises(ValueError, match="give X and y too, to judge on"):
        diagnose(norms, X_fit=X)


def test_lines_and_soups_have_the_same_statistics(norms):
    report = diagnose(norms, X, y, n_points=3)
    for how in ("raw", "line", "activations"):
        assert report.pairs[f"midpoint_{how}"].iloc[0] == report.pool["soup" if how == "line" else f"soup_{how}"]
    rows = Rows(X, y)
    data = Judge(Runner(norms[0].net, "classification", rows), rows, rows)
    soup = Recalibrate()(weighted_sum(norms.states, [0.5, 0.5]), norms.states, data)
    assert report.profiles[("seed-0", "seed-1")]["line"].loss[1] == pytest.approx(data.loss(soup), rel=1e-6)
    table = pairwise(norms, X, y, n_points=3)
    assert table["midpoint_score"].iloc[0] == report.pool["soup"]
    assert table["barrier"].iloc[0] == report.pairs["barrier_line"].iloc[0]


def test_members_that_differ_by_their_statistics_are_not_one_network(norms):
    moved = {k: 9 * t + 1 if "running" in k else t for k, t in norms[0].state.items()}
    pool = ModelPool([norms[0], norms[0].replace(name="moved", state=moved)])
    for report in (diagnose(pool, X, y, n_points=3), diagnose(pool)):
        assert "'seed-0' and 'moved' have the same weights and other statistics" in note(report, "not one network")
        assert "the same network" not in str(report)
        assert "one network, up to rounding" not in report.advice["why"]["soup"]
    counted = {k: t + 1 if "tracked" in k else t for k, t in norms[0].state.items()}
    pool = ModelPool([norms[0], norms[0].replace(name="counted", state=counted)])
    assert "'seed-0' and 'counted' are the same network" in str(diagnose(pool))


# ---- leakage -----------------------------------------------------------------------------------------------------


def test_rows_of_training_are_told_first_in_the_report(seeds):
    with pytest.warns(LeakageWarning, match="50 of the 150 rows used to diagnose the members"):
        report = diagnose(seeds[:2], DATA[750:900], LABELS[750:900], n_points=3)
    assert report.notes[0].startswith("50 of the 150 rows used to diagnose the members are rows that members were")
    assert report.notes[0] in str(report)
    assert report.notes[0] in report.to_html()


def test_rows_of_training_are_counted_once_over_architectures(seeds):
    wide = mlp_classifier(max_epochs=2, module__hidden=(9,))
    ensemble = EnsembleClassifier(wide, collect=Seeds(1), random_state=0).fit(DATA[700:850], LABELS[700:850])
    pool = ModelPool([seeds[0], ensemble.pool_[0].replace(name="wide")])
    with pytest.warns(LeakageWarning) as caught:
        report = diagnose(pool, DATA[750:900], LABELS[750:900], n_points=3)
    assert len(caught) == 1
    assert report.notes[0].startswith("100 of the 150 rows")


# ---- code --------------------------------------------------------------------------------------------------------


def promised(report):
    """The code of each recommendation, with the score that it is said to have."""
    for text in report.recommendation:
        for code in re.findall(r"(?:Soup|Ensemble)Classifier\(.*\)(?= makes it)", text):
            yield code, float(re.search(r"(?:is|both:|all \d:) (\d\.\d+)", text)[1])


@pytest.mark.parametrize("seed", [0, 1, 5])
@pytest.mark.parametrize("bare", [False, True], ids=["nets", "bare"])
def test_recommended_code_runs_and_has_the_score_that_is_told(seeds, seed, bare):
    copies = [moved(seeds[0], f"copy-{k}", k) for k in range(3)]  # noise that a mean makes less
    pool = seeds.replace([m.replace(net=None) for m in copies] if bare else copies)
    report = diagnose(pool, X, y, estimator=NET if bare else None, n_points=3, random_state=seed)
    assert report.advice["verdict"]["align then soup"] == "yes"
    found = [*promised(report)]
    assert found
    for code, score in found:
        assert ("(net, " in code) == bare
        assert ("random_state" in code) == (seed > 0 and "MergeMany" in code)
        estimator = eval(code, {**SCOPE, "pool": pool, "net": NET})
        assert round(estimator.fuse(pool, X, y).score(X, y), 3) == score
    assert ("net is the skorch net of the members" in str(report)) == bare


def moved(member, name, seed):
    """The same network with its units in another order, and some noise."""
    symmetry = symmetry_of(Runner(member.net, "classification", Rows(X, y)).module, torch.from_numpy(X[:4]))
    state, generator = symmetry.permute(symmetry.sample(seed), member.state), torch.Generator().manual_seed(seed)
    noise = {k: 0.1 * torch.randn(t.shape, generator=generator) for k, t in state.items() if "layers" in k}
    return member.replace(name=name, state={k: t + noise.get(k, 0) for k, t in state.items()})


def test_curves_are_advised_with_the_alignment_that_they_were_measured_with(seeds):
    report = diagnose(seeds[:2], X, y, random_state=3)
    why = report.advice["why"]["connect"]
    assert "even with units matched by weights." in why
    code = re.search(r"CurveClassifier\(.*?\)\)", why)[0]
    assert code == "CurveClassifier(collect=pool, align=WeightMatching(random_state=3))"
    curve = eval(code, {**SCOPE, "pool": seeds[:2]}).set_params(connect=Line())
    (line,) = curve.fuse(seeds[:2], X, y).profiles_.values()
    assert line.score_barrier == pytest.approx(report.pairs["fall_weights"].iloc[0], abs=0.0051)  # ties, by rounding
