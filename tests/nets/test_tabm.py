"""TabM: its layers by hand, its loss, its mean, and that it is trained, weighed and fused like any other network."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_diabetes, load_iris
from sklearn.model_selection import cross_val_score
from torch import nn
from torch.nn import functional as F

from skfusion import DistillClassifier, EnsembleClassifier, EnsembleRegressor, WeightAveragingClassifier
from skfusion._rows import Rows
from skfusion.collect import Seeds
from skfusion.nets import TabM, TabularMLP, sized, tabm_classifier, tabm_regressor, tabular_classifier, unstacked
from skfusion.nets._table_statistics import table_statistics
from skfusion.nets._tabm_members import of_one_member, with_members
from skfusion.nets.losses._of_members import (
    MembersBCEWithLogitsLoss,
    MembersCrossEntropyLoss,
    MembersMSELoss,
)

X_IRIS, Y_IRIS = load_iris(return_X_y=True)
SMALL = {"module__hidden": (16, 16), "max_epochs": 10}


def table(n=60, n_numbers=3, seed=0):
    """Return a table of numbers and two columns of codes, and its rows with values as targets."""
    rng = np.random.RandomState(seed)
    X = np.column_stack([rng.randn(n, n_numbers), rng.randint(4, size=n), rng.randint(3, size=n)]).astype(np.float32)
    return X, Rows(X, (X[:, :1] + X[:, 3:4]).astype(np.float32), None, None, task="regression")


def scattered(likelihood="categorical", n_numbers=3, task="classification", **params):
    """Return a TabM in double precision whose weights are all drawn anew, its parameters, and inputs."""
    X, rows = table(n_numbers=n_numbers)
    codes = [n_numbers, n_numbers + 1]
    given = {"table": table_statistics(rows, task, codes), "categorical": codes, "hidden": (6, 5, 4)} | params
    n_out = 1 if task == "regression" else 3
    torch.manual_seed(1)
    net = TabM(n_numbers + 2, n_out, likelihood=likelihood, k=4, **given).double()
    with torch.no_grad():
        for p in net.parameters():
            p.normal_(std=0.4)
    return net.eval(), (n_numbers + 2, n_out, given), torch.tensor(X).double()


def outputs_of_members(net, made, x):
    """Return the outputs of the members as networks of their own, shape (k, n_samples, n_out)."""
    n_in, n_out, params = made
    outputs = []
    for state in unstacked(net.state_dict()):
        member = TabularMLP(n_in, n_out, **params).double().eval()
        member.load_state_dict(state)
        outputs.append(member(x))
    return torch.stack(outputs)


def test_a_layer_is_that_of_the_formula():
    layer = scattered()[0].layers[2]
    x = torch.randn(4, 7, 6).double()
    for k in range(4):
        for row in range(7):
            by_hand = (1 + layer.s[k]) * (layer.weight @ ((1 + layer.r[k]) * x[k, row])) + layer.bias[k]
            torch.testing.assert_close(layer(x)[k, row], by_hand)


@pytest.mark.parametrize("n_numbers", [3, 70])  # 70 enter the first layer in more than one part
def test_members_are_perceptrons_and_their_probabilities_are_averaged(n_numbers):
    net, made, x = scattered(n_numbers=n_numbers)
    members = outputs_of_members(net, made, x)
    torch.testing.assert_close(net(x).exp(), members.softmax(2).mean(0))
    torch.testing.assert_close(net.train(False)(x).logsumexp(1), torch.zeros(len(x)).double())
    trained = scattered(n_numbers=n_numbers, dropout=0.0)[0].train()
    torch.testing.assert_close(trained(x).transpose(0, 1), members)


def test_labels_and_values_are_averaged_too():
    net, made, x = scattered("bernoulli")
    torch.testing.assert_close(net(x).sigmoid(), outputs_of_members(net, made, x).sigmoid().mean(0))
    net, made, x = scattered("gaussian", task="regression")
    assert net.y_std != 1
    torch.testing.assert_close(net(x), outputs_of_members(net, made, x).mean(0))


def test_one_member_with_scales_of_one_is_the_perceptron():
    _, rows = table()
    statistics = table_statistics(rows, "classification", [3, 4])
    net = TabM(5, 2, statistics, categorical=[3, 4], k=1, dropout=0.0)
    net.signs.fill_(1.0)
    plain = TabularMLP(5, 2, statistics, categorical=[3, 4], dropout=0.0)
    names = {"lines.bias": "bias"}
    with torch.no_grad():
        for name, p in plain.named_parameters():
            net.get_parameter(names.get(name, name)).copy_(p)
    x = torch.tensor(rows.X)
    torch.testing.assert_close(net.train()(x)[:, 0], plain(x))
    torch.testing.assert_close(net.eval()(x), plain(x).log_softmax(1))


def test_members_start_from_one_network_but_for_signs_by_column_and_heads():
    _, rows = table()
    net = TabM(5, 2, table_statistics(rows, "classification", [3, 4]), categorical=[3, 4], k=64)
    assert set(net.signs.unique().tolist()) == {-1.0, 1.0}
    assert net.signs.shape == (64, 5)
    states = unstacked(net.state_dict())
    for name in ("lines.bias", "layers.2.weight", "layers.2.bias", "embedding.weight"):
        assert all(torch.equal(state[name], states[0][name]) for state in states)
    assert not torch.equal(states[0]["layers.5.weight"], states[1]["layers.5.weight"])
    of_embedding = states[0]["lines.weight"][:, 3:] / net.lines.weight[:, 3:]  # 8 numbers a category have one sign
    assert torch.equal(of_embedding[0].unflatten(0, (2, 8)), net.signs[0, 3:, None].expand(2, 8))


def test_dropout_draws_other_masks_for_members_and_for_rows():
    dropout = scattered()[0].layers[1]
    torch.manual_seed(0)
    x = torch.ones(4, 50, 30)
    dropped = dropout.train()(x)
    torch.testing.assert_close(dropped.unique(), torch.tensor([0.0, 1 / 0.9]))
    assert abs(float((dropped == 0).float().mean()) - 0.1) < 0.03
    assert len({row.numpy().tobytes() for row in dropped[:, 0]}) == 4
    assert len({row.numpy().tobytes() for row in dropped[0]}) > 45
    torch.testing.assert_close(dropout.eval()(x), x)


def test_rows_do_not_mix():
    net, _, x = scattered()
    changed = x.clone()
    changed[3:] = x[3:].flip(0)
    for mode in (True, False):
        torch.manual_seed(0)
        before = net.train(mode)(x)
        torch.manual_seed(0)
        torch.testing.assert_close(net(changed)[:3], before[:3])
        assert not torch.allclose(net(changed)[3:], before[3:])


@pytest.mark.parametrize(
    ("loss", "target"),
    [
        (MembersCrossEntropyLoss, torch.tensor([0, 2, 1, 1])),
        (MembersBCEWithLogitsLoss, torch.tensor([[0.0, 1, 1], [1, 0, 0], [0, 0, 0], [1, 1, 1]])),
        (MembersMSELoss, torch.arange(12.0).reshape(4, 3)),
    ],
)
def test_the_loss_is_the_mean_of_the_members_losses(loss, target):
    out = torch.randn(4, 5, 3, generator=torch.Generator().manual_seed(0))
    alone = loss.__bases__[0]
    for reduction in ("none", "mean", "sum"):
        each = torch.stack([alone(reduction=reduction)(out[:, k], target) for k in range(5)])
        torch.testing.assert_close(loss(reduction=reduction)(out, target), each.mean(0))
        torch.testing.assert_close(loss(reduction=reduction)(out[:, 0], target), each[0])


def test_the_mean_loss_is_no_less_than_the_loss_of_the_mean():
    net, _, x = scattered(dropout=0.0)
    y = torch.arange(len(x)) % 3
    of_members = F.cross_entropy(net.train()(x).transpose(1, 2), y[:, None].expand(-1, 4), reduction="none").mean(1)
    of_mean = F.cross_entropy(net.eval()(x), y, reduction="none")
    assert (of_members >= of_mean - 1e-12).all()
    net, _, x = scattered("gaussian", task="regression", dropout=0.0)
    assert ((net.train()(x) - 1).square().mean(1) >= (net.eval()(x) - 1).square() - 1e-12).all()


@pytest.mark.parametrize("columns", [1, 4])
def test_it_learns_classes_labels_and_values(columns):
    X, y = X_IRIS[:, :columns], Y_IRIS
    net = tabm_classifier(k=4, **SMALL)
    assert EnsembleClassifier(net, collect=Seeds(1), random_state=0).fit(X, y).score(X, y) > 0.65
    labels = np.column_stack([y == 0, y != 2])
    net = tabm_classifier(k=4, multilabel=True, **SMALL)
    fitted = EnsembleClassifier(net, collect=Seeds(1), random_state=0).fit(X, labels)
    assert fitted.predict_proba(X).shape == (150, 2)
    one = EnsembleClassifier(net, collect=Seeds(1), random_state=0).fit(X[:100], y[:100])  # one output for two classes
    assert one.score(X[:100], y[:100]) > 0.75


def test_it_learns_values_in_their_own_units():
    X, y = load_diabetes(return_X_y=True)
    net = tabm_regressor(k=8, module__hidden=(32, 32), max_epochs=15)
    assert cross_val_score(EnsembleRegressor(net, collect=Seeds(1), random_state=0), X, 1e4 * y, cv=3).mean() > 0.35


def test_random_labels_give_chance():
    X, _ = table(400)
    y = np.random.RandomState(1).randint(2, size=400)
    net = tabm_classifier(k=4, module__categorical=[3, 4], **SMALL)
    assert (
        abs(cross_val_score(EnsembleClassifier(net, collect=Seeds(1), random_state=0), X, y, cv=4).mean() - 0.5) < 0.1
    )


def test_weights_of_rows_are_repetitions():
    rows = np.arange(0, 150, 5)
    X, y, times = X_IRIS[rows], Y_IRIS[rows], np.arange(30) % 3 + 1
    balance = torch.tensor([1.0, 2.0, 0.5])
    net = tabm_classifier(
        k=3, batch_size=-1, optimizer=torch.optim.SGD, optimizer__fused=False, lr=0.1, module__dropout=0.0,
        criterion__weight=balance, **SMALL,
    ).set_params(optimizer__weight_decay=0.0)  # fmt: skip
    ready = sized(
        net, Rows(np.repeat(X, times, axis=0).astype(np.float32), np.repeat(y, times), task="classification"), 3
    )
    net = net.set_params(module__table=ready.module__table)
    fits = [
        EnsembleClassifier(net, collect=Seeds(1), random_state=0).fit(A, b, sample_weight=w).predict_proba(X_IRIS)
        for A, b, w in (
            (np.repeat(X, times, axis=0), np.repeat(y, times), None),
            (X, y, times * 0.7),  # fractions weigh the loss
        )
    ]
    np.testing.assert_allclose(*fits, rtol=1e-3, atol=1e-4)


def test_several_are_trained_as_one_where_that_is_asked_for():
    X, _ = table(80)
    y = (X[:, 0] > 0).astype(int)
    net = tabm_classifier(k=3, module__categorical=[3, 4], module__hidden=(8, 8), max_epochs=2)
    pools = [
        EnsembleClassifier(net, collect=Seeds(2, vectorize=how), random_state=0).fit(X, y).pool_
        for how in (True, False)
    ]
    for a, b in zip(*pools, strict=True):
        for name, tensor in a.state.items():
            torch.testing.assert_close(tensor, b.state[name], rtol=1e-3, atol=1e-4)


def test_early_stopping_looks_at_the_mean():
    net = tabm_classifier(k=3, early_stopping=True, **SMALL)
    member = EnsembleClassifier(net, collect=Seeds(1), random_state=0).fit(X_IRIS, Y_IRIS).pool_[0]
    assert all(0 < epoch["valid_loss"] < 2 for epoch in member.meta["history"])


def test_it_is_averaged_over_time_and_taught_like_any_other_network():
    averaged = WeightAveragingClassifier(tabm_classifier(k=3, **SMALL), random_state=0).fit(X_IRIS, Y_IRIS)
    assert averaged.score(X_IRIS, Y_IRIS) > 0.8
    teacher = EnsembleClassifier(tabular_classifier(**SMALL), collect=Seeds(1), random_state=0)
    student = DistillClassifier(tabm_classifier(k=3, **SMALL), teacher=teacher, random_state=0)
    assert student.fit(X_IRIS, Y_IRIS).score(X_IRIS, Y_IRIS) > 0.8


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"module__k": 0}, "k is the number of members"),
        ({"module__hidden": ()}, "hidden is empty"),
        ({"module__likelihood": "poisson"}, "likelihood must be"),
    ],
)
def test_parameters_that_make_no_network_are_named(params, message):
    with pytest.raises(ValueError, match=message):
        EnsembleClassifier(tabm_classifier().set_params(**params), collect=Seeds(1)).fit(X_IRIS, Y_IRIS)


def test_other_criteria_and_wrong_class_weights_are_named():
    with pytest.raises(ValueError, match=r"are trained by CrossEntropyLoss.* and the net has criterion=NLLLoss"):
        tabm_classifier(criterion=nn.NLLLoss)
    net = tabm_classifier(criterion__weight=torch.ones(2))
    with pytest.raises(ValueError, match=r"criterion__weight has the shape \(2,\), and y has 3 classes"):
        EnsembleClassifier(net, collect=Seeds(1)).fit(X_IRIS, Y_IRIS)


def test_smoothed_labels_of_a_net_stay_with_its_members():
    net = with_members(tabular_classifier(max_epochs=2), 3)
    assert net.criterion().label_smoothing == 0.1
    assert of_one_member(net).criterion is tabular_classifier().criterion
    assert tabm_classifier().criterion().label_smoothing == 0
    logits, y = torch.randn(5, 3, 4), torch.tensor([0, 1, 2, 3, 0])
    alone = [nn.CrossEntropyLoss(label_smoothing=0.1)(logits[:, k], y) for k in range(3)]
    torch.testing.assert_close(net.criterion()(logits, y), torch.stack(alone).mean())
