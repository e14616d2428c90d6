"""Curves and networks that are trained against attacks."""

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_iris
from torch import nn

from skfusion import CurveClassifier
from skfusion.collect import Seeds
from skfusion.connect import AdversarialTraining, Attack, Bezier, Fourier, Line, PolyChain, RobustPath
from skfusion.nets import mlp_classifier
from skfusion.objective import Batch, ModuleObjective
from skfusion.testing import _problems as problems

BOUNDS = (-2.0, 2.0)


def same(a, b):
    return problems.snapshot(a) == problems.snapshot(b)


def regression(n_batches=9):
    """y = x at x = -1 and x = 1, by a line through the origin; against l_inf = e, the best slope w is smaller."""
    x = torch.tensor([[-1.0], [1.0]], dtype=torch.float64)
    net = nn.Linear(1, 1, bias=False).double()
    return ModuleObjective(
        net, lambda: [Batch(x, x)] * n_batches, criterion=lambda out, batch: (out - batch.y).square().mean()
    )


def slopes(*values):
    return [{"weight": torch.tensor([[v]], dtype=torch.float64)} for v in values]


# ---- curves ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("curve", [None, PolyChain(n_epochs=3), Fourier(n_epochs=2, n_bends=2, train_ends=True)])
@pytest.mark.parametrize("attack", [Attack(), Attack(n_steps=1, n_restarts=2, bounds=(0, 1))])
def test_without_a_radius_it_is_the_plain_curve_exactly(curve, attack):
    ends, data = problems.ends(), problems.to_train()
    if curve is None:
        curve = Bezier(n_epochs=2)
    robust, plain = RobustPath(attack, curve)(ends, data), curve(ends, data)
    assert same(robust.controls, plain.controls)
    assert robust.history == plain.history
    assert robust.weights(0.3).tolist() == plain.weights(0.3).tolist()


def test_the_radius_of_nothing_is_a_limit():
    """A radius of almost nothing, with all the attack's computations, gives the plain curve up to rounding."""
    ends, data = problems.ends(torch.float64), problems.to_train(torch.float64)
    curve = Bezier(n_epochs=2)
    robust = RobustPath(Attack(l_inf=1e-13, l2=1e-13, n_steps=1), curve)(ends, data)
    assert robust.history == pytest.approx(curve(ends, data).history, abs=1e-9)


def test_the_bezier_curve_is_the_default():
    robust = RobustPath(Attack())
    assert robust.curve is None
    path = robust(slopes(0.0, 2.0), regression())
    assert same(path.controls, Bezier()(slopes(0.0, 2.0), regression()).controls)


def test_steps_are_those_by_hand():
    """The attack and the loss are at one point: for y = x, the worst input moves by e away from where w x = y."""
    e, curve = 0.25, Bezier(n_epochs=1, lr=0.1, momentum=0.0, random_state=2)
    path = RobustPath(Attack(l_inf=e, bounds=BOUNDS), curve)(slopes(0.0, 2.0), regression(3))
    rng, bend, losses = np.random.RandomState(2), 1.0, []
    for step in range(3):
        c = curve.weights(rng.uniform(), 3)
        w = c @ [0.0, bend, 2.0]
        x = 1 + e * np.sign(w * (w - 1))  # by symmetry for both rows
        losses.append((w * x - 1) ** 2)
        rate = 1.0 if step / 3 < 0.5 else 1.0 - (step / 3 - 0.5) / 0.4 * 0.99
        bend -= 0.1 * rate * c[1] * 2 * (w * x - 1) * x
    assert path.controls[1]["weight"].item() == pytest.approx(bend, abs=1e-12)
    assert path.history == pytest.approx([np.mean(losses)], abs=1e-12)


def test_the_loss_under_attack_is_higher_and_the_curve_another_one():
    ends, data = problems.ends(), problems.to_train()
    curve = Bezier(n_epochs=5)
    robust, plain = RobustPath(Attack(l_inf=0.3, n_steps=2), curve)(ends, data), curve(ends, data)
    assert np.mean(robust.history) > np.mean(plain.history)
    assert robust.at(0.0) is ends[0]
    assert robust.at(1.0) is ends[1]
    assert not same(robust.controls[1], plain.controls[1])


def test_integer_inputs_are_refused():
    class Words(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.head = nn.Embedding(5, 4), nn.Linear(4, 2)

        def forward(self, x):
            return self.head(self.words(x).mean(1))

    rows = Batch(torch.randint(5, (6, 3), generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1] * 3))
    data = ModuleObjective(Words(), lambda: [rows], criterion=lambda o, b: nn.functional.cross_entropy(o, b.y))
    ends = [{k: v.clone() + k0 for k, v in data.module.state_dict().items()} for k0 in (0.0, 0.1)]
    with pytest.raises(ValueError, match="these are integers"):
        RobustPath(Attack(l_inf=0.1))(ends, data)
    assert RobustPath(Attack(), Bezier(n_epochs=1))(ends, data).history


@pytest.mark.parametrize(
    ("params", "says"),
    [({"attack": 0.1}, "attack must be an Attack"), ({"curve": Line()}, "curve must be one that is")],
)
def test_parts_of_another_kind_are_refused(params, says):
    with pytest.raises(TypeError, match=says):
        RobustPath(**{"attack": Attack(), **params})(problems.ends(), problems.to_train())


def test_settings_of_the_parts_are_checked():
    with pytest.raises(ValueError, match="l_inf is a radius"):
        RobustPath(Attack(l_inf=-1.0)).check()
    with pytest.raises(ValueError, match="n_bends must be"):
        RobustPath(Attack(), Bezier(n_bends=-1)).check()


def test_a_curve_under_attack_needs_labels():
    with pytest.raises(ValueError, match="Bezier trains on labelled rows"):
        RobustPath(Attack(l_inf=0.1))(problems.ends())


# ---- networks --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("e", [0.0, 0.5, 1.5])
def test_a_network_is_trained_against_the_worst_inputs(e):
    """The worst loss (|w - 1| + e |w|)^2 is least at w = 1 where e < 1, and at w = 0 where inputs can change sides."""
    attack = Attack(l_inf=e, n_steps=2, bounds=(-3.0, 3.0))
    trained = AdversarialTraining(attack, n_epochs=30, lr=0.02)(slopes(0.2)[0], regression())
    w = np.linspace(-1, 2, 30001)
    worst = np.maximum(*((w * (1 + s * e) - 1) ** 2 for s in (-1, 1)))
    assert trained["weight"].item() == pytest.approx(w[worst.argmin()], abs=0.05)


def test_without_a_radius_training_is_ordinary():
    data, (start, _) = problems.to_train(torch.float64), problems.ends(torch.float64)
    training = AdversarialTraining(Attack(), n_epochs=1, lr=0.05, momentum=0.5)
    trained = training(start, data)
    module = problems.module(torch.float64)
    module.load_state_dict(start)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.05, momentum=0.5)
    batches = [*data.training()]
    for step, batch in enumerate(batches):
        done = step / len(batches)
        optimizer.param_groups[0]["lr"] = 0.05 * (1.0 if done < 0.5 else 1.0 - (done - 0.5) / 0.4 * 0.99)
        optimizer.zero_grad()
        nn.functional.cross_entropy(module.train()(batch.x), batch.y).backward()
        optimizer.step()
    for name, parameter in module.named_parameters():
        torch.testing.assert_close(trained[name], parameter.detach(), rtol=0, atol=1e-12)


def test_the_start_is_left_as_it_was():
    data, (start, _) = problems.to_train(), problems.ends()
    before = problems.snapshot(start)
    trained = AdversarialTraining(Attack(l2=0.1, n_steps=1), n_epochs=1)(start, data)
    assert problems.snapshot(start) == before
    assert not torch.equal(trained["0.weight"], start["0.weight"])


def test_a_training_needs_labels():
    with pytest.raises(ValueError, match="AdversarialTraining trains on labelled rows"):
        AdversarialTraining(Attack())(problems.ends()[0], None)


# ---- estimators ------------------------------------------------------------------------------------------------------


def test_a_curve_estimator_joins_its_members_under_attack():
    X, y = load_iris(return_X_y=True)
    net = mlp_classifier(module__hidden=(8,), max_epochs=5)
    pool = Seeds(2).collect(net, X, y, random_state=0)
    plain, robust = (
        CurveClassifier(collect=pool, connect=RobustPath(attack, Bezier(n_epochs=3)), n_points=3).fit(X, y)
        for attack in (Attack(), Attack(l_inf=0.3, n_steps=2))
    )
    (edge,) = robust.curves_
    assert np.mean(robust.curves_[edge].history) > np.mean(plain.curves_[edge].history)
    assert clone(robust).connect.attack == Attack(l_inf=0.3, n_steps=2)
    assert robust.predict(X).shape == y.shape
