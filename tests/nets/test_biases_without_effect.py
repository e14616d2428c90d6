"""Biases ahead of BatchNorm: the library's nets have none, and those of others are named."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_iris
from skorch import NeuralNetClassifier
from torch import nn

from skfusion import EnsembleClassifier, SoupClassifier
from skfusion._rows import Rows
from skfusion.collect import Seeds
from skfusion.merge import Uniform
from skfusion.nets import MLP, biases_without_effect, mlp_classifier, sized

X, y = load_iris(return_X_y=True)
ROWS = Rows(X.astype(np.float32), y)


class Net(nn.Module):
    """Layers that BatchNorm follows at once, or later."""

    def __init__(self, n_in, n_out, bias=True, between=None):
        super().__init__()
        self.first, self.norm = nn.Linear(n_in, 8, bias=bias), nn.BatchNorm1d(8)
        self.between, self.last = between or nn.Identity(), nn.Linear(8, n_out)

    def forward(self, X):
        return self.last(self.norm(self.between(self.first(X))).relu())


class Images(nn.Module):
    def __init__(self, n_out):
        super().__init__()
        self.conv, self.norm, self.last = nn.Conv1d(1, 3, 2), nn.BatchNorm1d(3), nn.Linear(9, n_out)

    def forward(self, X):
        return self.last(self.norm(self.conv(X.unsqueeze(1))).flatten(1))


def net(module=Net, optimizer=torch.optim.Adam, **params):
    return NeuralNetClassifier(module, criterion=nn.CrossEntropyLoss, optimizer=optimizer, max_epochs=3, verbose=0,
                               train_split=None, **params)  # fmt: skip


@pytest.mark.parametrize(
    ("given", "names"),
    [
        (net(), ["first.bias"]),
        (net(module__bias=False), []),
        (net(optimizer=torch.optim.SGD), []),
        (net(module__between=nn.ReLU()), []),
        (net(module__between=nn.ReLU(inplace=True)), []),
        (net(module__between=nn.Flatten()), ["first.bias"]),
        (net(Images), ["conv.bias"]),
        (mlp_classifier(module__norm="batch"), []),
        (mlp_classifier(module__norm="layer"), []),
        (mlp_classifier(), []),
    ],
)
def test_biases_that_batch_norm_takes_away_are_found(given, names):
    state = torch.get_rng_state()
    assert biases_without_effect(sized(given, ROWS, 3), ROWS) == names
    assert torch.equal(state, torch.get_rng_state())


def test_a_given_module_is_left_as_it_is():
    module = Net(4, 3)
    before = {k: v.clone() for k, v in module.state_dict().items()}
    assert biases_without_effect(net(module), ROWS) == ["first.bias"]
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())
    assert module.training


class Own(NeuralNetClassifier):
    """A net that cannot be stacked."""

    def train_step_single(self, batch, **fit_params):
        return super().train_step_single(batch, **fit_params)


@pytest.mark.parametrize("bias", [True, False])
def test_the_warning_says_where_a_stack_would_differ(bias):
    given = Own(Net, module__bias=bias, criterion=nn.CrossEntropyLoss, optimizer=torch.optim.Adam, max_epochs=1,
                verbose=0, train_split=None)  # fmt: skip
    with pytest.warns(UserWarning, match="not vectorized: .*but for rounding, which training can amplify") as told:
        EnsembleClassifier(given, collect=Seeds(2, vectorize=True), random_state=0).fit(X, y)
    named = "differ through first.bias: BatchNorm takes these biases away" in str(told[0].message)
    assert named == bias


def test_stacked_and_looped_perceptrons_with_batch_norm_agree():
    given = mlp_classifier(module__norm="batch", module__hidden=(16, 16), max_epochs=20)
    found = [
        EnsembleClassifier(given, collect=Seeds(3, vectorize=vectorize), random_state=0).fit(X, y).predict_members(X)
        for vectorize in (True, False)
    ]
    np.testing.assert_allclose(*found, atol=1e-4)  # with biases: 0.02


def test_states_of_perceptrons_that_had_these_biases():
    fitted = EnsembleClassifier(mlp_classifier(module__norm="batch", max_epochs=3), collect=Seeds(2), random_state=0)
    pool = fitted.fit(X, y).pool_
    shift = torch.arange(64.0)
    old = []
    for m in pool:
        state = {**m.state, "layers.0.bias": shift, "layers.3.bias": shift}
        state |= {f"layers.{i}.running_mean": m.state[f"layers.{i}.running_mean"] + shift for i in (1, 4)}
        old.append(m.replace(state=state, rows=None))
    with pytest.raises(ValueError, match=r"used to have this bias.*state\.pop\('layers.0.bias'\)") as error:
        SoupClassifier(merge=Uniform()).fuse(pool.replace(old), X, y)
    (code,) = [part for part in str(error.value).split(": ") if part.startswith("state['")]
    for state in (m.state for m in old):
        for i in (0, 3):
            here = code.partition(", for")[0].replace("layers.0", f"layers.{i}").replace("layers.1", f"layers.{i + 1}")
            name, mean = f"layers.{i}.bias", f"layers.{i + 1}.running_mean"
            assert here == f"state[{mean!r}] = state[{mean!r}] - state.pop({name!r})"
            state[mean] = state[mean] - state.pop(name)
    again = EnsembleClassifier().fuse(pool.replace(old), X, y)
    np.testing.assert_allclose(again.predict_proba(X), fitted.predict_proba(X), atol=1e-5)
    assert MLP(4, 3, norm="batch")._mean_after("layers.2.bias") is None
