"""The network for tables: its encoding by hand, its preparation of columns, its training."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.model_selection import cross_val_score
from sklearn.preprocessing import scale
from skorch.callbacks import EpochTimer
from torch import Tensor, nn

from skfusion import EnsembleClassifier, EnsembleRegressor, SoupClassifier, WeightAveragingRegressor
from skfusion._rows import Rows
from skfusion._vectorized import _members
from skfusion.align import WeightMatching
from skfusion.collect import Bootstrap, Seeds
from skfusion.merge import Uniform
from skfusion.nets import TabularMLP, sized, tabular_classifier, tabular_regressor
from skfusion.nets._table_statistics import clipped, table_statistics

X_IRIS, Y_IRIS = load_iris(return_X_y=True)


def table(n=200, seed=0):
    """Return a table with a heavy tail, a constant, and a category, and labels that the category decides."""
    rng = np.random.RandomState(seed)
    codes = rng.randint(4, size=n)
    numbers = np.column_stack([rng.standard_cauchy(n), np.full(n, 7.0), rng.randn(n)])
    X = np.column_stack([numbers[:, :1], codes, numbers[:, 1:]]).astype(np.float32)
    return X, np.isin(codes, [1, 2]).astype(int)


def rows_of(X, y, task="classification"):
    return Rows(np.asarray(X, np.float32), y, None, None, task=task)


def test_encoding_by_hand():
    X = np.array([[0.0], [1.0], [2.0], [3.0], [100.0]])
    statistics = table_statistics(rows_of(X, np.zeros(5, int)), "classification")
    assert (statistics.center.item(), statistics.scale.item()) == (2.0, 2.0)
    torch.manual_seed(0)
    net = TabularMLP(1, 2, statistics, hidden=(3,)).eval()
    with torch.no_grad():
        net.curves.weight.normal_()
    u = (X[:, 0] - 2) / 2
    z = u / np.sqrt(1 + (u / 3) ** 2)
    knots = np.unique(np.quantile(z, np.linspace(0, 1, 33)).astype(np.float32))
    state = {name: t.double().numpy() for name, t in net.state_dict().items()}
    for i in range(5):
        shares = np.zeros(32)
        for t in range(len(knots) - 1):
            shares[t] = np.clip((z[i] - knots[t]) / (knots[t + 1] - knots[t]), 0, 1)
        hidden = state["lines.weight"][:, 0] * z[i] + state["lines.bias"] + state["curves.weight"] @ shares
        out = state["layers.2.weight"] @ np.maximum(hidden, 0) + state["layers.2.bias"]
        np.testing.assert_allclose(
            net(torch.tensor(X[i : i + 1]).float())[0].detach().numpy(), out, rtol=1e-4, atol=1e-5
        )


def test_a_unit_of_the_first_layer_starts_as_a_line():
    X = np.linspace(-1, 1, 50)[:, None]
    torch.manual_seed(0)
    net = TabularMLP(1, 1, table_statistics(rows_of(X, np.zeros(50, int)), "classification"), hidden=())
    with torch.no_grad():
        z = net(torch.tensor(X).float())
        u = torch.tensor(X / table_statistics(rows_of(X, np.zeros(50, int)), "classification").scale)
        line = u / torch.sqrt(1 + (u / 3) ** 2) * net.lines.weight.double() + net.lines.bias.double()
    torch.testing.assert_close(z.double(), line, rtol=1e-4, atol=1e-5)


def test_unknown_codes_are_one_category_and_huge_numbers_do_no_harm():
    X, y = table()
    torch.manual_seed(0)
    net = TabularMLP(4, 2, table_statistics(rows_of(X, y), "classification", [1]), categorical=[1]).eval()
    assert (net.n_codes.tolist(), net.embedding.num_embeddings) == ([4], 5)
    row = torch.tensor(X[:1])
    unknown = torch.cat([row.clone() for _ in range(3)])
    unknown[:, 1] = torch.tensor([-1.0, 4.0, 1e9])
    out = net(unknown)
    torch.testing.assert_close(out[0].expand(3, -1), out)
    assert not torch.allclose(out[0], net(row)[0])
    unknown[:, 0] = torch.tensor([1e30, -1e30, 3e38])
    assert net(unknown).isfinite().all()


def test_a_constant_column_in_training_says_nothing_about_scale():
    X, y = table()
    statistics = table_statistics(rows_of(X, y), "classification", [1])
    assert statistics.scale[1] == 1
    assert statistics.inverse_widths[1].max() == 0
    assert np.isfinite(statistics.edges).all()


def test_statistics_are_those_of_repeated_rows():
    X, y = table(n=20)
    times = np.arange(20) % 3 + 1
    weighted = Rows(X, y, times.astype(float), None, task="classification").expanded()
    repeated = rows_of(np.repeat(X, times, axis=0), np.repeat(y, times))
    for name in ("center", "scale", "edges", "inverse_widths"):
        a, b = (getattr(table_statistics(r, "classification", [1]), name) for r in (weighted, repeated))
        np.testing.assert_allclose(a, b)


def test_bins_get_fewer_in_wide_tables():
    X = np.random.RandomState(0).randn(40, 1500)
    assert table_statistics(rows_of(X, np.zeros(40, int)), "classification").edges.shape == (1500, 1)


@pytest.mark.parametrize(("column", "value"), [(0, 0.5), (0, 2e6)])
def test_columns_that_are_no_codes_are_named(column, value):
    X = np.zeros((4, 2))
    X[0, column] = value
    with pytest.raises(ValueError, match=r"Column 0 is named in categorical and holds .*OrdinalEncoder"):
        EnsembleClassifier(tabular_classifier(module__categorical=[0]), collect=Seeds(1)).fit(X, [0, 1, 0, 1])


def test_categorical_columns_that_are_not_there_are_named():
    with pytest.raises(ValueError, match="categorical names the column 4; there are columns 0 to 3"):
        EnsembleClassifier(tabular_classifier(module__categorical=[4]), collect=Seeds(1)).fit(X_IRIS, Y_IRIS)


def test_a_category_is_learned_that_a_line_cannot_tell():
    X, y = table(400)
    net = tabular_classifier(module__categorical=[1], max_epochs=15)
    assert cross_val_score(EnsembleClassifier(net, collect=Seeds(1), random_state=0), X, y, cv=3).min() > 0.95


def test_random_labels_give_chance():
    X, _ = table(400)
    y = np.random.RandomState(1).randint(2, size=400)
    net = tabular_classifier(module__categorical=[1], max_epochs=10)
    assert (
        abs(cross_val_score(EnsembleClassifier(net, collect=Seeds(2), random_state=0), X, y, cv=4).mean() - 0.5) < 0.1
    )


def test_scales_and_offsets_of_columns_do_not_matter():
    X, y = load_diabetes(return_X_y=True)
    far = X * np.logspace(-3, 4, 10) + np.logspace(4, -3, 10)
    scores = [
        cross_val_score(
            EnsembleRegressor(tabular_regressor(max_epochs=15), collect=Seeds(1), random_state=0), A, y, cv=3
        )
        for A in (scale(X), far)
    ]
    assert np.abs(np.mean(scores[0]) - np.mean(scores[1])) < 0.05
    assert np.mean(scores) > 0.35


def test_vectorized_members_are_those_trained_alone():
    X, y = table(120)
    net = tabular_classifier(module__categorical=[1], max_epochs=3, module__dropout=0.2)
    pools = [
        EnsembleClassifier(net, collect=Seeds(3, vectorize=how), random_state=0).fit(X, y).pool_
        for how in (True, False)
    ]
    for a, b in zip(*pools, strict=True):
        for name, tensor in a.state.items():
            torch.testing.assert_close(tensor, b.state[name], rtol=1e-3, atol=1e-4)


def test_rates_fall_along_half_a_cosine():
    fitted = EnsembleClassifier(tabular_classifier(max_epochs=4, lr=0.5), collect=Seeds(1), random_state=0).fit(
        X_IRIS[:60], Y_IRIS[:60]
    )
    assert fitted.net_.batch_size == 32
    rates = []
    net = sized(tabular_classifier(max_epochs=4, lr=0.5), rows_of(X_IRIS, Y_IRIS), 3).initialize()
    for _ in range(4):
        net.history.new_epoch()
        dict(net.callbacks_)["annealing"].on_epoch_begin(net)
        rates.append(net.optimizer_.param_groups[0]["lr"])
    np.testing.assert_allclose(rates, [0.5 * (0.02 + 0.98 * (1 + np.cos(np.pi * k / 4)) / 2) for k in range(4)])


def test_early_stopping_stops_and_keeps_the_best_state():
    X, _ = table(200)
    y = np.random.RandomState(1).randint(2, size=200)
    net = tabular_classifier(early_stopping=True, max_epochs=60, lr=0.01, optimizer__weight_decay=0.0)
    member = EnsembleClassifier(net, collect=Seeds(1), random_state=0).fit(X, y).pool_[0]
    losses = [epoch["valid_loss"] for epoch in member.meta["history"]]
    assert len(losses) < 60
    assert len(losses) - 1 - int(np.argmin(losses)) == 8  # epochs without a lower loss


def test_label_smoothing_pulls_probabilities_from_the_ends():
    X, y = load_breast_cancer(return_X_y=True)
    confidence = [
        EnsembleClassifier(tabular_classifier(label_smoothing=s, max_epochs=8), collect=Seeds(1), random_state=0)
        .fit(X, y).predict_proba(X).max()
        for s in (0.0, 0.4)
    ]  # fmt: skip
    assert confidence[1] < 0.9 < confidence[0]
    with pytest.raises(ValueError, match="label_smoothing is for classes that exclude each other"):
        tabular_classifier(multilabel=True, label_smoothing=0.1)


def test_smoothing_is_no_parameter_that_another_criterion_is_left_with():
    net = tabular_classifier(max_epochs=2)
    assert net.criterion().label_smoothing == 0.1
    assert tabular_classifier(criterion=nn.CrossEntropyLoss).criterion().label_smoothing == 0
    assert not [name for name in net.get_params(deep=False) if name.startswith("criterion__")]
    for plain in (net.set_params(criterion=nn.CrossEntropyLoss), tabular_classifier(label_smoothing=0.0, max_epochs=2)):
        fitted = EnsembleClassifier(plain, collect=Seeds(1), random_state=0).fit(X_IRIS, Y_IRIS)
        assert fitted.net_.initialize().criterion_.label_smoothing == 0


@pytest.mark.parametrize("categorical", [[], [1], [0, 1, 2, 3]])
def test_no_step_of_its_training_needs_vmap(categorical, monkeypatch):
    calls, mapped = [], _members.mapped

    def counted(func, *args):
        calls.append(func)
        return mapped(func, *args)

    monkeypatch.setattr(_members, "mapped", counted)
    net = tabular_classifier(max_epochs=1, module__categorical=categorical)
    X, y = table(60)
    Seeds(2, vectorize=True).collect(net, np.minimum(np.abs(X), 9).round(), y)
    assert set(calls) <= {Tensor.untyped_storage}  # which is asked for once, before


def test_it_is_fused_like_any_other_network():
    aligned = SoupClassifier(
        tabular_classifier(max_epochs=10), collect=Seeds(2), align=WeightMatching(), merge=Uniform(), random_state=0
    ).fit(X_IRIS, Y_IRIS)
    assert aligned.score(X_IRIS, Y_IRIS) > 0.9
    columns = Bootstrap(2, max_features=0.75)
    subspaces = EnsembleClassifier(tabular_classifier(max_epochs=10), collect=columns, random_state=0)
    assert subspaces.fit(X_IRIS, Y_IRIS).score(X_IRIS, Y_IRIS) > 0.8
    with pytest.raises(ValueError, match="would embed other categories"):
        EnsembleClassifier(tabular_classifier(module__categorical=[1]), collect=columns).fit(*table(50))
    X, y = load_diabetes(return_X_y=True)
    averaged = WeightAveragingRegressor(tabular_regressor(max_epochs=10), random_state=0).fit(X, y)
    assert averaged.score(X, y) > 0.3


def test_numbers_beyond_all_others_are_clipped_and_not_lost():
    u = torch.tensor([0.3, 1e10, 1e19, 1e20, 3e38, -3e38, torch.inf])
    expected = [0.3 / np.sqrt(1.01), 3, 3, 3, 3, -3, 3]
    np.testing.assert_allclose(clipped(u).numpy(), expected, rtol=1e-6)


def test_further_callbacks_stand_beside_annealing_and_early_stopping():
    net = tabular_classifier(early_stopping=True, callbacks=[("note", EpochTimer())])
    assert [name for name, _ in net.callbacks] == ["annealing", "note", "early_stopping"]
    with pytest.raises(ValueError, match="would take the annealed rate away"):
        tabular_classifier(callbacks="disable")


def test_groups_of_parameters_keep_their_rates():
    net = tabular_classifier(max_epochs=2, optimizer__param_groups=[("layers*", {"lr": 1.0})])
    net = sized(net, rows_of(X_IRIS, Y_IRIS), 3).initialize()
    for share in (1.0, 0.02 + 0.98 / 2):
        net.history.new_epoch()
        dict(net.callbacks_)["annealing"].on_epoch_begin(net)
        np.testing.assert_allclose([g["lr"] for g in net.optimizer_.param_groups], [share, 0.003 * share])


def test_early_stopping_with_a_class_of_one_row():
    y = np.arange(60) % 2
    y[7] = 2
    net = tabular_classifier(early_stopping=True, max_epochs=2)
    fitted = EnsembleClassifier(net, collect=Seeds(1), random_state=0).fit(X_IRIS[:60], y)
    assert fitted.predict_proba(X_IRIS).shape == (150, 3)
