"""The judge of states: scores, losses and rows, together or one by one, and remembered."""

import numpy as np
import pytest
import torch
from skorch import NeuralNetClassifier, NeuralNetRegressor
from torch import nn

from skfusion import nets
from skfusion._rows import Rows
from skfusion.nets import Judge, Runner, mlp_classifier, mlp_regressor

RNG = np.random.RandomState(0)
X = RNG.normal(size=(90, 3)).astype(np.float32)
ROWS = {
    "classification": Rows(X, (X[:, 0] > X[:, 1]).astype(np.int64) + (X[:, 2] > 1)),
    "multilabel": Rows(X, (X[:, :2] > 0).astype(np.int64)),
    "regression": Rows(X, X[:, :2] - X[:, 1:]),
}
NETS = {
    "classification": mlp_classifier(module__hidden=(5,), module__norm="batch"),
    "multilabel": mlp_classifier(True, module__hidden=(5,)),
    "regression": mlp_regressor(module__hidden=(5,)),
}
TASKS = pytest.mark.parametrize("task", NETS)


def runner(task, net=None):
    rows = ROWS[task]
    return Runner(nets.sized(net or NETS[task], rows, 3 if task == "classification" else 2), task, rows)


def some_states(run, n=4):
    """States near that of the module."""
    torch.manual_seed(1)
    own = run.module.state_dict()
    return [{k: v + 0.3 * torch.randn_like(v) if "weight" in k else v.clone() for k, v in own.items()}
            for _ in range(n)]  # fmt: skip


@TASKS
@pytest.mark.parametrize("n", [90, 2500])
def test_states_are_judged_together_as_one_by_one(task, n):
    run = runner(task)
    held = ROWS[task].take(np.arange(n) % 90)
    judge, states = Judge(run, held, held), some_states(run)
    losses = [judge.loss(state) for state in states]
    for state, loss, score in zip(states, losses, judge.scores(states), strict=True):
        out = run.raw(state, held.X)
        y = torch.from_numpy(held.y)
        expected = run.net.criterion_(out, y if task == "classification" else y.float())
        assert loss == pytest.approx(float(expected), rel=1e-5)
        assert score == pytest.approx(nets.default_score(task)(run.predict(state, held.X), held), rel=1e-5)
    both = np.array(judge.evaluate(states))
    np.testing.assert_allclose(both, np.transpose([losses, judge.scores(states)]), rtol=1e-5)


@TASKS
def test_scores_of_members_are_remembered_for_their_states(task):
    run, asked = runner(task), []

    def score(p, rows):
        asked.append(p)
        return float(p.mean())

    judge, states = Judge(run, ROWS[task], ROWS[task], score), some_states(run)
    found = judge.members(states)
    assert len(asked) == 4
    for (p, value), state in zip(found, states, strict=True):
        np.testing.assert_allclose(p, run.predict(state, X), atol=1e-6)
        assert value == pytest.approx(float(p.mean()), abs=1e-6)
    other = {k: v.clone() for k, v in states[1].items()}
    data = judge.with_rows_of_members([np.arange(3)] * 4)
    scores = data.scores(iter([states[2], other, states[0]]))
    assert len(asked) == 5
    assert [scores[0], scores[2]] == [found[2][1], found[0][1]]
    assert scores[1] == pytest.approx(found[1][1], abs=1e-6)
    assert data.score(states[3]) == found[3][1]
    assert len(asked) == 5


def test_states_are_made_while_they_are_asked_for():
    run, alive = runner("classification"), []
    judge = Judge(run, *[ROWS["classification"].take(np.arange(5000) % 90)] * 2)

    def made():
        for state in some_states(run):
            alive.append(len(seen))
            yield state

    seen = []
    for out in judge.outputs(made()):
        seen.append(out)
    assert alive == [0, 1, 2, 3]


@TASKS
def test_an_objective_has_the_rows_of_both_sides_and_of_members(task):
    run, rows = runner(task), ROWS[task]
    fit, held = rows.take(np.arange(60)), rows.take(np.arange(60, 90))
    own = [np.array([3, 1, 40]), np.arange(20)]
    data = Judge(run, fit, held).with_rows_of_members(own)
    sides = (
        (data.batches, fit),
        (data.held_out, held),
        (data.member_batches[0], fit.take(own[0])),
        (data.member_batches[1], fit.take(own[1])),
    )
    for batches, expected in sides:
        x, y = (torch.cat(parts) for parts in list(zip(*batches(), strict=True))[:2])
        assert np.array_equal(x, expected.X)
        assert np.array_equal(y, expected.y)
    assert Judge(run, fit, held).member_batches == ()


@TASKS
@pytest.mark.parametrize("side", ["held out", "fit"])
def test_the_criterion_weighs_rows(task, side):
    run, rows = runner(task), ROWS[task]
    weight = np.arange(90.0) % 3 + 0.5
    weighted = Rows(rows.X, rows.y, weight)
    held = weighted if side == "held out" else rows
    data = Judge(run, weighted, held)
    state = some_states(run)[0]
    (batch,) = data.batches()
    assert torch.equal(batch.weight, torch.from_numpy(weight))
    out = run.raw(state, X)
    y = torch.from_numpy(rows.y if task == "classification" else rows.y.astype(np.float32))
    by_row = type(run.net.criterion_)(reduction="none")(out, y).reshape(90, -1).mean(1)
    average = float((by_row * torch.from_numpy(weight)).sum() / weight.sum())
    assert float(data.criterion(out, batch)) == pytest.approx(average, rel=1e-6)
    assert data.loss(state) == pytest.approx(average if side == "held out" else float(by_row.mean()), rel=1e-5)


@TASKS
def test_gradients_pass_through_forward_and_criterion(task):
    run = runner(task)
    data = Judge(run, ROWS[task], ROWS[task])
    state = {k: v.clone().requires_grad_(k.endswith(("weight", "bias"))) for k, v in some_states(run)[0].items()}
    (batch,) = data.held_out()
    loss = data.criterion(data.forward(state, batch.x), batch)
    assert float(loss.detach()) == pytest.approx(data.loss({k: v.detach() for k, v in state.items()}), rel=1e-5)
    loss.backward()
    assert all(state[k].grad.abs().sum() > 0 for k in state if k.endswith("weight"))


def test_a_score_by_rank_is_asked_with_outputs_only_where_they_keep_the_order():
    seen = []

    def score(p, rows):
        seen.append(p)
        return 0.0

    score.by_rank = True
    held = ROWS["classification"]
    turned = NeuralNetClassifier(nn.Linear(3, 3), criterion=nn.CrossEntropyLoss, predict_nonlinearity=lambda z: -z)
    for net, raw in ((None, True), (turned, False)):
        run = runner("classification", net)
        state = some_states(run)[0]
        Judge(run, held, held, score).scores([state])
        expected = run.raw(state, X).numpy() if raw else run.predict(state, X)
        np.testing.assert_allclose(seen[-1], expected, atol=1e-6)


def test_a_mean_of_batches_by_their_weights_is_the_loss():
    run, rows = runner("classification"), ROWS["classification"]
    many = rows.take(np.arange(4500) % 90)
    weighted = Rows(many.X, many.y, np.random.RandomState(1).uniform(0.1, 3, 4500))
    data, state = Judge(run, many, weighted), some_states(run)[0]
    batches = [*data.held_out()]
    assert len(batches) == 3
    losses = [float(data.criterion(data.forward(state, b.x), b)) for b in batches]
    assert np.average(losses, weights=[float(b.weight.sum()) for b in batches]) == pytest.approx(data.loss(state))


def test_dicts_are_cut_into_batches():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.head = nn.Embedding(4, 3), nn.Linear(6, 1)

        def forward(self, code, x):
            return self.head(torch.cat([self.embed(code), x], 1))

    code = np.arange(3000) % 4
    rows = Rows({"code": code, "x": np.repeat(X[:1], 3000, 0)}, code[:, None].astype(np.float32))
    run = Runner(nets.sized(NeuralNetRegressor(Two()), rows, 1), "regression", rows)
    batches = [*Judge(run, rows, rows).with_rows_of_members([np.array([2, 1])]).batches()]
    assert [len(b.y) for b in batches] == [len(b.x["code"]) for b in batches]
    assert sum(len(b.y) for b in batches) == 3000
    assert torch.equal(torch.cat([b.y for b in batches])[:, 0], torch.from_numpy(code).float())
    (own,) = Judge(run, rows, rows).with_rows_of_members([np.array([2, 1])]).member_batches[0]()
    assert own.x["code"].tolist() == [2, 1]


# ---- weights of classes, and losses that look at the inputs --------------------------------------------------------

CLASSES = torch.tensor([1.0, 5.0, 0.3])
WEIGHT = np.arange(90) % 3 + 1


@pytest.mark.parametrize(
    ("criterion", "params"),
    [
        (nn.CrossEntropyLoss, {"weight": CLASSES}),
        (nn.CrossEntropyLoss, {"weight": CLASSES, "label_smoothing": 0.2}),
        (nn.CrossEntropyLoss, {"ignore_index": 1}),
        (nn.CrossEntropyLoss, {"weight": CLASSES, "ignore_index": 2}),
        (nn.NLLLoss, {"weight": CLASSES}),
    ],
    ids=["weights", "smoothing", "ignored", "both", "likelihood"],
)
def test_weights_of_rows_are_repetitions_also_where_classes_have_weights(criterion, params):
    make = nn.Linear(3, 3) if criterion is nn.CrossEntropyLoss else nn.Sequential(nn.Linear(3, 3), nn.Softmax(1))
    net = NeuralNetClassifier(make, criterion=criterion, **{f"criterion__{k}": v for k, v in params.items()})
    rows = ROWS["classification"]
    weighted, repeated = Rows(rows.X, rows.y, WEIGHT / 1.7), rows.take(np.repeat(np.arange(90), WEIGHT))
    losses = []
    for held in (weighted, repeated):
        run = runner("classification", net)
        data, state = Judge(run, held, held), some_states(run)[0]
        (batch,) = data.held_out()
        losses += [data.loss(state), float(data.criterion(data.forward(state, batch.x), batch))]
    assert losses == pytest.approx([losses[2]] * 4, rel=1e-5)
    data = Judge(
        run := runner("classification", net), weighted, rows
    )  # whose weights turn the reduction off for all rows
    out = run.raw(state, X)
    log_p = out.log() if criterion is nn.NLLLoss else out
    assert data.loss(state) == pytest.approx(float(criterion(**params)(log_p, torch.from_numpy(rows.y))), rel=1e-5)


def test_a_criterion_of_the_users_own_is_not_second_guessed():
    class Focal(nn.CrossEntropyLoss):
        def forward(self, out, y):
            return super().forward(out, y) ** 2

    net = NeuralNetClassifier(nn.Linear(3, 3), criterion=Focal, criterion__weight=CLASSES)
    rows = ROWS["classification"]
    run = runner("classification", net)
    data, state = Judge(run, rows, Rows(rows.X, rows.y, WEIGHT * 1.0)), some_states(run)[0]
    each = nn.functional.cross_entropy(run.raw(state, X), torch.from_numpy(rows.y), CLASSES, reduction="none") ** 2
    assert data.loss(state) == pytest.approx(float((each * torch.from_numpy(WEIGHT)).sum() / WEIGHT.sum()), rel=1e-5)


@pytest.mark.parametrize("weight", [None, WEIGHT * 1.0], ids=["plain", "weighted"])
def test_a_loss_that_looks_at_the_inputs_gets_them(weight):
    class Looking(NeuralNetRegressor):
        def get_loss(self, y_pred, y_true, X=None, training=False):
            assert not training
            return super().get_loss(y_pred, y_true, X, training) * (1 + X[:, 0].square().sum())

    rows = ROWS["regression"]
    held = Rows(rows.X, rows.y, weight)
    run = runner("regression", Looking(nn.Linear(3, 2)))
    data, state = Judge(run, held, held), some_states(run)[0]
    squares = ((run.raw(state, X) - torch.from_numpy(rows.y)) ** 2).mean(1).numpy()
    expected = np.average(squares, weights=weight) * (1 + (X[:, 0] ** 2).sum())
    (batch,) = data.held_out()
    assert data.loss(state) == pytest.approx(expected, rel=1e-5)
    assert float(data.criterion(data.forward(state, batch.x), batch)) == pytest.approx(expected, rel=1e-5)
