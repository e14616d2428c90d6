"""How outputs are read: as probabilities, and as likelihoods that gradients pass through."""

import numpy as np
import pytest
import torch
from skorch import NeuralNetBinaryClassifier, NeuralNetClassifier, NeuralNetRegressor
from torch import nn
from torch.nn import functional as F

from skfusion import nets
from skfusion._rows import Rows
from skfusion.nets import Judge, Runner
from skfusion.nets._judge import is_monotone
from skfusion.nets._runner import likelihood_of

RNG = np.random.RandomState(0)
X = RNG.normal(size=(40, 3)).astype(np.float32)
CLASSES = Rows(X, RNG.randint(3, size=40))
BINARY = Rows(X, RNG.randint(2, size=40))
LABELS = Rows(X, RNG.randint(2, size=(40, 2)))
VALUES = Rows(X, RNG.normal(size=(40, 2)).astype(np.float32))


class Linear(nn.Module):
    """A linear map whose end is set from outside."""

    def __init__(self, n_out=3, end=None, flat=False):
        super().__init__()
        self.layer, self.end, self.flat = nn.Linear(3, n_out), end, flat

    def forward(self, X):
        z = self.layer(X)
        z = z if self.end is None else self.end(z)
        return z.squeeze(1) if self.flat else z


def classifier(criterion, **params):
    return NeuralNetClassifier(Linear, criterion=criterion, **params)


def binary(**params):
    return NeuralNetBinaryClassifier(Linear, **params)


SIGMOID, SOFTMAX = nn.Sigmoid(), nn.Softmax(dim=1)
KINDS = {
    "softmax": (classifier(nn.CrossEntropyLoss), CLASSES, "classification", "categorical"),
    "instance": (classifier(nn.CrossEntropyLoss()), CLASSES, "classification", "categorical"),
    "probabilities": (classifier(nn.NLLLoss, module__end=SOFTMAX), CLASSES, "classification", "categorical"),
    "callable": (classifier(nn.CrossEntropyLoss, predict_nonlinearity=SOFTMAX), CLASSES, "classification",
                 "categorical"),
    "none": (classifier(nn.NLLLoss, module__end=SOFTMAX, predict_nonlinearity=None), CLASSES, "classification",
             "categorical"),
    "one output": (binary(), BINARY, "classification", "categorical"),
    "flat": (binary(module__flat=True), BINARY, "classification", "categorical"),
    "sigmoid": (binary(criterion=nn.BCELoss, module__end=SIGMOID), BINARY, "classification", "categorical"),
    "labels": (classifier(nn.BCEWithLogitsLoss), LABELS, "multilabel", "bernoulli"),
    "sigmoid labels": (classifier(nn.BCELoss, module__end=SIGMOID), LABELS, "multilabel", "bernoulli"),
    "callable labels": (classifier(nn.BCEWithLogitsLoss, predict_nonlinearity=SIGMOID), LABELS, "multilabel",
                        "bernoulli"),
    "values": (NeuralNetRegressor(Linear), VALUES, "regression", "gaussian"),
    "robust values": (NeuralNetRegressor(Linear, criterion=nn.L1Loss), VALUES, "regression", "gaussian"),
}  # fmt: skip


@pytest.fixture(params=KINDS)
def problem(request):
    """A runner, its rows, its likelihood, the kind that it should be of, and outputs that ask for gradients."""
    net, rows, task, kind = KINDS[request.param]
    width = {"classification": rows.y.max() + 1}.get(task, 2)
    runner = Runner(nets.sized(net.set_params(verbose=0), rows, width), task, rows)
    module = runner.module
    out = module(torch.from_numpy(X) * 3).requires_grad_()
    return runner, rows, likelihood_of(runner.net, task), kind, out


def test_it_agrees_with_the_link(problem):
    runner, _, likelihood, kind, out = problem
    z = likelihood.logits(out)
    p = {"categorical": lambda: z.softmax(1), "bernoulli": z.sigmoid, "gaussian": lambda: z}[kind]()
    assert likelihood.kind == kind
    torch.testing.assert_close(p, runner.link(out), rtol=0, atol=1e-6)


def test_log_probabilities_are_those_of_the_link(problem):
    runner, rows, likelihood, kind, out = problem
    p, y = runner.link(out).detach().double().numpy(), rows.y
    with np.errstate(divide="ignore"):
        expected = {
            "categorical": lambda: np.log(p)[np.arange(40), y],
            "bernoulli": lambda: np.log(np.where(y == 1, p, 1 - p)).sum(1),
            "gaussian": lambda: -((p - y) ** 2).sum(1) / 2,
        }[kind]()
    found = likelihood.log_prob(out, torch.from_numpy(y))
    assert found.shape == (40,)
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=1e-4, atol=1e-5)


def test_the_mean_is_the_loss_of_torch(problem):
    runner, rows, likelihood, kind, out = problem
    loss = Judge(runner, rows, rows).of_output(out.detach())[0]
    found = -float(likelihood.log_prob(out.detach(), torch.from_numpy(rows.y)).mean())
    if isinstance(runner.net.criterion_, nn.L1Loss):
        return  # whose likelihood is not Gaussian
    scale = {"categorical": 1, "bernoulli": 2, "gaussian": 2 / 2}[kind]  # torch averages over 2 labels, 2 values
    assert found / scale == pytest.approx(loss, rel=1e-4)


def test_gradients_pass(problem):
    _, rows, likelihood, _, out = problem
    (found,) = torch.autograd.grad(likelihood.log_prob(out, torch.from_numpy(rows.y)).sum(), out)
    assert found.shape == out.shape
    assert found.isfinite().all()
    assert found.abs().sum() > 0


@pytest.mark.parametrize("kind", ["probabilities", "sigmoid", "sigmoid labels"])
def test_certain_outputs_have_finite_logits_and_gradients(kind):
    net, rows, task, _ = KINDS[kind]
    likelihood = likelihood_of(net, task)
    shape = {"probabilities": (2, 3), "sigmoid": (2, 1), "sigmoid labels": (2, 2)}[kind]
    out = torch.zeros(shape)
    out[0] = 1.0
    out.requires_grad_()
    log_prob = likelihood.log_prob(out, torch.from_numpy(rows.y[:2]))
    (found,) = torch.autograd.grad(log_prob.sum(), out)
    assert log_prob.isfinite().all()
    assert found.isfinite().all()


def test_the_larger_output_is_the_likelier_class_only_under_softmax():
    assert is_monotone(classifier(nn.CrossEntropyLoss), "classification")
    assert not is_monotone(classifier(nn.CrossEntropyLoss, predict_nonlinearity=lambda z: -z), "classification")
    assert not is_monotone(binary(), "classification")
    assert not is_monotone(classifier(nn.BCEWithLogitsLoss), "multilabel")
    assert not is_monotone(NeuralNetRegressor(Linear), "regression")


def test_outputs_that_are_no_probabilities_are_refused():
    runner = Runner(nets.sized(classifier(nn.NLLLoss), CLASSES, 3), "classification", CLASSES)
    with pytest.raises(ValueError, match=r"no probabilities.*NLLLoss reads them.*predict_nonlinearity.*Softmax"):
        runner.link(torch.tensor([[2.0, -1.0, 0.0]]))


def test_functional_losses_agree_on_a_row():
    likelihood = likelihood_of(binary(), "classification")
    z, y = torch.tensor([[0.7], [-2.0]]), torch.tensor([1, 0])
    expected = -F.binary_cross_entropy_with_logits(z[:, 0], y.float(), reduction="none")
    torch.testing.assert_close(likelihood.log_prob(z, y), expected, rtol=0, atol=1e-6)
