"""Networks and data for mergers that look at data."""

import copy
from itertools import pairwise

import torch
from reference import fisher as reference
from torch import nn
from torch.func import functional_call
from torch.nn import functional as F

from skfusion.objective import Batch, Likelihood, ModuleObjective


def objective(module, *batches, kind="categorical", **more):
    """Return an objective on batches, whose outputs are logits, or values; it judges nothing unless told how."""
    known = {"loss": lambda s: 0.0, "score": lambda s: 0.0, "likelihood": Likelihood(kind, lambda out: out)}
    return ModuleObjective(module, lambda: batches, **{**known, **more})


LOSSES = {
    "categorical": lambda out, y: F.cross_entropy(out, y, reduction="none"),
    "bernoulli": lambda out, y: F.binary_cross_entropy_with_logits(out, y, reduction="none").sum(1),
    "gaussian": lambda out, y: (out - y).square().sum(1),
}


def criterion_of(kind):
    def criterion(out, batch):
        weight = torch.ones(len(out)).double() if batch.weight is None else batch.weight
        return (LOSSES[kind](out, batch.y) * weight).sum() / weight.sum()

    return criterion


def judged(module, *held_out, kind="categorical", **more):
    """An objective with held-out rows, and what is reported to it."""
    criterion, report = more.pop("criterion", criterion_of(kind)), {}

    def loss(state):
        with torch.no_grad():
            found = [(float(criterion(data.forward(state, b.x), b)), mass(b)) for b in held_out]
        return sum(value * m for value, m in found) / sum(m for _, m in found)

    def mass(b):
        return len(b.y) if b.weight is None else float(b.weight.sum())

    asked = {"loss": loss, "held_out": lambda: held_out, "criterion": criterion, "report": report.__setitem__}
    data = objective(module, kind=kind, **{**asked, **more})
    return data, report


def mixed(members, weights):
    """The sum of members; weights are a list, or a list for each layer."""
    each = weights if isinstance(weights, dict) else dict.fromkeys({n.rpartition(".")[0] for n in members[0]}, weights)
    return {
        name: sum(w * s[name] for w, s in zip(each[name.rpartition(".")[0]], members, strict=True))
        for name in members[0]
        if members[0][name].is_floating_point()
    }


def planted(members, weights, module, n=60):
    """Rows whose targets are the outputs of a sum of members."""
    x = normal(n, 4, seed=3)
    return Batch(x, functional_call(module, mixed(members, weights), (x,)).detach())


def batch(x, weight=None):
    """Return rows without labels as a batch."""
    return Batch(x, torch.zeros(len(next(iter(x.values())) if isinstance(x, dict) else x)), weight)


def own(*each):
    """Return the rows of each member."""
    return tuple(lambda x=x: [batch(x)] for x in each)


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def states(module, n, seed=1, scale=0.3):
    """Return n unlike states near that of a module; what is tied in it by name is so in them, and counters differ."""
    generator = torch.Generator().manual_seed(seed)
    found = []
    for k in range(n):
        moved = {}
        for name, t in module.state_dict().items():
            if t.data_ptr() not in moved:
                noise = scale * torch.randn(t.shape, generator=generator, dtype=torch.float64)
                moved[t.data_ptr()] = (t + noise.to(t.dtype)) if t.is_floating_point() else t + k
                if name.endswith("running_var"):
                    moved[t.data_ptr()] = moved[t.data_ptr()].abs() + 0.1
        found.append({name: moved[t.data_ptr()] for name, t in module.state_dict().items()})
    return found


def perceptron(*widths, norm=False):
    layers = []
    for i, o in pairwise(widths[:-1]):
        layers += [nn.Linear(i, o), *([nn.BatchNorm1d(o)] if norm else []), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, nn.Linear(*widths[-2:])).double()


def convolutional():
    return nn.Sequential(
        nn.Conv1d(2, 4, 3, padding=1), nn.GroupNorm(2, 4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 5, 3)
    ).double()


class Tokens(nn.Module):
    """Linear layers that see tokens, and one that sees their mean, of words with an embedding."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(7, 4)
        self.each = nn.Linear(4, 5)
        self.norm = nn.LayerNorm(5)
        self.head = nn.Linear(5, 3)

    def forward(self, x):
        return self.head(self.norm(self.each(self.words(x)).tanh()).mean(1))


class Named(nn.Module):
    """A network like those of Hugging Face: inputs and outputs have names."""

    def __init__(self):
        super().__init__()
        self.each = nn.Linear(4, 5)
        self.attention = nn.MultiheadAttention(5, 1, batch_first=True)
        self.head = nn.Linear(5, 3)

    def forward(self, values, mask):
        h = self.each(input=values).tanh()
        h = h + self.attention(h, h, h, key_padding_mask=mask == 0, need_weights=False)[0]
        return {"loss": None, "logits": self.head((h * mask[..., None]).sum(1) / mask.sum(1, keepdim=True))}


class Recurrent(nn.Module):
    """A network that can be differentiated row by row only."""

    def __init__(self):
        super().__init__()
        self.read = nn.LSTM(4, 5, batch_first=True)
        self.head = nn.Linear(5, 3)

    def forward(self, x):
        return self.head(self.read(x)[0][:, -1])


class Branching(nn.Module):
    """A network whose path depends on the row."""

    def __init__(self):
        super().__init__()
        self.body = nn.Linear(4, 5)
        self.left = nn.Linear(5, 3)
        self.right = nn.Linear(5, 3)

    def forward(self, x):
        return torch.stack([(self.left if row[0].item() > 0 else self.right)(self.body(row).tanh()) for row in x])


class Twice(nn.Module):
    """A layer that runs twice, and one whose weight is used in another way, too."""

    def __init__(self):
        super().__init__()
        self.body = nn.Linear(4, 4)
        self.code = nn.Linear(4, 3)
        self.unused = nn.Linear(2, 2)

    def forward(self, x):
        h = self.body(self.body(x).tanh()).tanh()
        return self.code(F.linear(self.code(h).tanh(), self.code.weight.T))


class Tied(nn.Module):
    """Two layers with one weight, and a part with two names; the first names are not the first in the state."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.second = nn.Linear(4, 4)
        self.second.weight = self.first.weight
        self.head = self.again = nn.Linear(4, 3)

    def forward(self, x):
        return self.again(self.second(self.first(x).tanh()).tanh())


CASES = {
    "perceptron": (lambda: perceptron(4, 6, 5, 3), normal(7, 4)),
    "BatchNorm": (lambda: perceptron(4, 6, 3, norm=True), normal(7, 4)),
    "convolutional": (convolutional, normal(7, 2, 5)),
    "tokens": (lambda: Tokens().double(), torch.arange(21).reshape(7, 3) % 7),
    "named": (
        lambda: Named().double(),
        {"values": normal(7, 3, 4), "mask": (normal(7, 3) < 1).double().clamp_min(0.1)},
    ),
    "recurrent": (lambda: Recurrent().double(), normal(7, 3, 4)),
    "branching": (lambda: Branching().double(), normal(7, 4)),
    "twice": (lambda: Twice().double(), normal(7, 4)),
    "tied": (lambda: Tied().double(), normal(7, 4)),
}


def logits_of(module, x, i):
    out = module(**{k: v[i : i + 1] for k, v in x.items()}) if isinstance(x, dict) else module(x[i : i + 1])
    return (out["logits"] if isinstance(out, dict) else out)[0]


def fisher_of(module, state, x, n=7, **more):
    """The Fisher information of each parameter by its first name, by the slow loop."""
    module = copy.deepcopy(module).eval()
    module.load_state_dict(state)
    names, parameters = zip(*module.named_parameters(), strict=True)
    found = reference.fisher(lambda i: logits_of(module, x, i), parameters, n, **more)
    return dict(zip(names, found, strict=True))


def assert_close(found, expected, atol=1e-10):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=atol, msg=lambda m, n=name: f"{n}: {m}")
