"""Geodesic: equal steps of the predictions, energies that never rise, and predictions of every kind."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon
from torch import nn

from skfusion.connect import Geodesic
from skfusion.connect.strings._predictions import divergences
from skfusion.objective import Batch, Likelihood, ModuleObjective
from skfusion.testing import _problems as problems

CLASSES = Likelihood("categorical", lambda out: out)


class Logit(nn.Module):
    """Predicts the second of two classes with the log-odds w, whatever the input is."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.zeros(1, dtype=torch.float64))

    def forward(self, x):
        return torch.cat([0 * self.w, self.w]).expand(len(x), 2)


def unlabelled(module, n_batches=1, likelihood=CLASSES, width=1, seed=0):
    x = torch.randn(20, width, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return ModuleObjective(module, lambda: [Batch(x, None)] * n_batches, likelihood=likelihood)


def logits(w):
    return {"w": torch.tensor([w], dtype=torch.float64)}


def angle(w):
    """The place of a Bernoulli distribution on the circle on which the Fisher-Rao metric is the arc."""
    return 2 * math.asin(math.sqrt(1 / (1 + math.exp(-w))))


def test_bernoulli_distributions_are_equally_spaced_on_their_arc():
    path = Geodesic(n_epochs=8, lr=12.0, momentum=0.97)([logits(-4.0), logits(5.0)], unlabelled(Logit(), 50))
    gaps = np.diff([angle(control["w"].item()) for control in path.controls])
    assert len(gaps) == 24
    assert gaps.min() == pytest.approx(0.1124, abs=5e-4)
    assert gaps.max() == pytest.approx(0.1161, abs=5e-4)
    assert path.fisher_rao_length == pytest.approx(2.7044, abs=2e-4)
    assert path.fisher_rao_length < angle(5.0) - angle(-4.0) < 2.7089
    assert path.energy < 0.85 * path.line_energy
    assert path.length(25) == pytest.approx(9.0)
    assert path.controls[0]["w"].item() == -4.0


def test_pivots_start_equally_spaced_on_the_line():
    path = Geodesic(n_bends=3, n_epochs=0)([logits(-4.0), logits(4.0)], unlabelled(Logit()))
    assert [c["w"].item() for c in path.controls] == [-4.0, -2.0, 0.0, 2.0, 4.0]
    assert path.energy == path.line_energy == pytest.approx(sum(path.divergences))
    assert path.divergences == pytest.approx(path.divergences[::-1])
    assert path.history == ()


@pytest.mark.parametrize("lr", [0.1, 1e3, 1e6])
def test_the_energy_is_never_above_that_of_the_line(lr):
    path = Geodesic(n_bends=5, n_epochs=4, lr=lr)([logits(-4.0), logits(5.0)], unlabelled(Logit()))
    assert path.energy <= path.line_energy
    pivots = torch.tensor([[[0.0, c["w"].item()]] for c in path.controls], dtype=torch.float64)
    again = divergences(pivots, "categorical").sum()
    assert path.energy == pytest.approx(float(again), abs=1e-9)
    assert len(path.history) == 4


# ---- divergences ---------------------------------------------------------------------------------------------------


def test_divergences_of_classes_are_those_of_scipy():
    z = torch.randn(4, 6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 3
    found = divergences(z, "categorical")
    p = torch.softmax(z, 2).numpy()
    expected = [[jensenshannon(p[k, i], p[k + 1, i]) ** 2 for i in range(6)] for k in range(3)]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_labels_are_pairs_of_classes_each():
    z = torch.randn(3, 5, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found = divergences(z, "bernoulli")
    pairs = torch.stack([z, torch.zeros_like(z)], dim=-1)
    expected = sum(divergences(pairs[:, :, k], "categorical") for k in range(2))
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_values_are_as_far_apart_as_near_by_normal_distributions():
    """The divergence of two normal distributions of unit variance, integrated on a grid."""
    x, gap = np.linspace(-12, 12, 200_001), 0.1
    p, q = (np.exp(-((x - m) ** 2) / 2) / math.sqrt(2 * math.pi) for m in (0.0, gap))
    middle = (p + q) / 2
    by_hand = np.trapezoid(p * np.log(p / middle) + q * np.log(q / middle), x) / 2
    found = divergences(torch.tensor([[[0.0]], [[gap]]], dtype=torch.float64), "gaussian")
    assert float(found) == pytest.approx(by_hand, rel=0.01)


def test_weights_of_rows_count():
    class Sensitive(Logit):
        def forward(self, x):
            return torch.cat([0 * x, self.w * x], dim=1)

    x = torch.tensor([[1.0], [0.0]], dtype=torch.float64)
    rows = [Batch(x, None, torch.tensor([3.0, 1.0])), Batch(x, None, torch.tensor([1.0, 3.0]))]
    ends = [logits(-1.0), logits(1.0)]
    weighted = ModuleObjective(Sensitive(), lambda: rows, likelihood=CLASSES)
    plain = ModuleObjective(Sensitive(), lambda: [Batch(x[:1], None)], likelihood=CLASSES)
    found, of_first = (Geodesic(n_bends=1, n_epochs=0)(ends, data).energy for data in (weighted, plain))
    assert found == pytest.approx(of_first / 2)


# ---- networks ------------------------------------------------------------------------------------------------------


def test_labels_are_not_read():
    ends, data = problems.ends(), problems.to_train()
    blind = ModuleObjective(data.module, lambda: [Batch(b.x, None) for b in data.batches()], likelihood=data.likelihood)
    found, expected = (Geodesic(n_bends=3, n_epochs=3, lr=1.0)(ends, d) for d in (blind, data))
    for a, b in zip(found.controls, expected.controls, strict=True):
        assert all(torch.equal(a[k], b[k]) for k in a)
    assert found.energy < 0.95 * found.line_energy


def test_networks_that_compute_the_same_all_along_have_no_distance():
    class Spare(nn.Module):
        """The second layer does nothing."""

        def __init__(self):
            super().__init__()
            self.used, self.spare = nn.Linear(3, 2).double(), nn.Linear(2, 2).double()

        def forward(self, x):
            return self.used(x)

    torch.manual_seed(0)
    a = {k: v.clone() for k, v in Spare().state_dict().items()}
    b = a | {k: v + 1 for k, v in a.items() if k.startswith("spare")}
    path = Geodesic(n_bends=3, n_epochs=2)([a, b], unlabelled(Spare(), width=3))
    assert [path.energy, path.line_energy, path.fisher_rao_length] == pytest.approx([0.0] * 3, abs=1e-6)
    assert path.length() > 1


def test_between_a_network_and_its_permuted_copy_the_energy_falls():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, 2)).double()
    a = {k: 2 * v.clone() for k, v in module.state_dict().items()}
    order = torch.tensor([1, 2, 0, 4, 5, 3])
    b = a | {"0.weight": a["0.weight"][order], "0.bias": a["0.bias"][order], "2.weight": a["2.weight"][:, order]}
    data = unlabelled(module, 10, width=3)
    path = Geodesic(n_bends=5, n_epochs=20, lr=5.0)([a, b], data)
    assert path.line_energy > 1e-3
    assert path.energy < 0.5 * path.line_energy
    same = Geodesic(n_bends=5)([a, {k: v.clone() for k, v in a.items()}], data)
    assert (same.energy, same.fisher_rao_length, len(same.controls)) == (0.0, 0.0, 2)


@pytest.mark.parametrize("kind", ["bernoulli", "gaussian"])
def test_labels_and_values_are_joined_too(kind):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, 2)).double()
    ends = [{k: 2 * torch.randn_like(v) for k, v in module.state_dict().items()} for _ in range(2)]
    path = Geodesic(n_bends=5, n_epochs=10, lr=1.0)(ends, unlabelled(module, 5, Likelihood(kind, lambda o: o), 3))
    assert path.energy < 0.9 * path.line_energy


def test_steps_do_not_depend_on_the_unit_of_values():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).double()
    ends = [{k: torch.randn_like(v) for k, v in module.state_dict().items()} for _ in range(2)]
    found = []
    for unit in (1.0, 1000.0):
        data = unlabelled(module, 5, Likelihood("gaussian", lambda out, unit=unit: unit * out), 3)
        found.append(Geodesic(n_bends=3, n_epochs=5)(ends, data))
    for a, b in zip(*(path.controls for path in found), strict=True):
        for k in a:
            torch.testing.assert_close(a[k], b[k], rtol=1e-9, atol=1e-12)
    assert found[1].energy == pytest.approx(1e6 * found[0].energy)


def test_a_module_that_cannot_be_run_at_once_gives_the_same_path():
    class Reaching(nn.Module):
        """Uses its parameters by a list, which is not found where tensors are lent."""

        def __init__(self):
            super().__init__()
            self.net = nn.Linear(3, 2).double()

        def forward(self, x):
            return self.net(x) + 0 * dict(self.named_parameters())["net.bias"].sum()

    torch.manual_seed(0)
    ends = [{k: torch.randn_like(v) for k, v in Reaching().state_dict().items()} for _ in range(2)]
    module = nn.Sequential()
    module.add_module("net", nn.Linear(3, 2).double())
    first, second = (Geodesic(n_bends=3, n_epochs=3)(ends, unlabelled(m, 3, width=3)) for m in (Reaching(), module))
    assert first.energy == pytest.approx(second.energy, rel=1e-6)
    assert first.energy < first.line_energy


def test_what_is_missing_is_named():
    with pytest.raises(ValueError, match="Geodesic compares predictions: .* by a likelihood"):
        Geodesic()([logits(0.0), logits(1.0)], ModuleObjective(Logit(), lambda: []))
    with pytest.raises(ValueError, match="Geodesic compares predictions"):
        Geodesic()([logits(0.0), logits(1.0)])
    with pytest.raises(ValueError, match="n_bends must be a whole number of at least 0; got -1"):
        Geodesic(n_bends=-1)([logits(0.0), logits(1.0)], unlabelled(Logit()))
    with pytest.raises(ValueError, match="the objective has no rows"):
        Geodesic()([logits(0.0), logits(1.0)], unlabelled(Logit(), 0))
