"""Networks with the data to judge them on, for tests of the landscape."""

import torch
from torch import nn
from torch.nn import functional as F

from skfusion.objective import Batch, ModuleObjective


def judged(module, batches, held_out=None, many=True):
    """An objective with accuracy as its score; ``many`` gives it what points need to be evaluated together."""
    held = batches if held_out is None else held_out
    y = torch.cat([b.y for b in held])
    w = torch.cat([torch.ones(len(b.y)) if b.weight is None else b.weight for b in held])

    def of_output(out):
        each = F.cross_entropy(out.double(), y, reduction="none")
        right = (out.argmax(1) == y).double()
        return float((each * w).sum() / w.sum()), float((right * w).sum() / w.sum())

    def both(state):
        with torch.no_grad():
            return of_output(torch.cat([data.forward(state, _own(b.x)) for b in held]))

    data = ModuleObjective(
        module.eval(),
        lambda: batches,
        lambda state: both(state)[0],
        lambda state: both(state)[1],
        of_output=of_output if many else None,
        held_out=(lambda: held) if many else None,
    )
    return data


def rows(n=40, n_in=6, n_out=3, seed=0, cuts=(25, 36), dtype=torch.float32, weighted=False):
    """Labelled rows in unequal batches."""
    generator = torch.Generator().manual_seed(seed)
    x = 1 + torch.randn(n, n_in, generator=generator, dtype=torch.float64).to(dtype)
    y = torch.randint(n_out, (n,), generator=generator)
    w = torch.rand(n, generator=generator) + 0.5
    parts = [t.tensor_split(cuts) for t in (x, y, w)]
    return [Batch(a, b, c if weighted else None) for a, b, c in zip(*parts, strict=True)]


def states_of(make, m=2):
    """Unlike states of one architecture; float buffers differ too."""
    found = []
    for k in range(m):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(k + 1)
            module = make()
            state = {k: v.detach() for k, v in module.state_dict().items()}
            for key, value in state.items():
                if "running_mean" in key:
                    value.add_(torch.randn_like(value))
                elif "running_var" in key:
                    value.add_(torch.rand_like(value))
        found.append(state)
    return found


def perceptron(*layers):
    """A perceptron with layers after its first one."""
    return nn.Sequential(nn.Linear(6, 8), *layers, nn.ReLU(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3))


def _own(x):
    return {k: v.clone() for k, v in x.items()} if isinstance(x, dict) else x.clone()
