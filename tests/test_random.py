"""Random streams of a stretch of work."""

import random
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import nn

from skfusion import nets
from skfusion._random import seed_scope
from skfusion.connect import Bezier
from skfusion.objective import Batch, ModuleObjective


def draw():
    return torch.rand(3).tolist(), np.random.uniform(size=3).tolist(), random.random()  # noqa: NPY002


def test_draws_are_those_of_the_seed(untouched_rng):
    found = []
    for seed in (3, 3, 4, 2**40 + 3):
        with seed_scope(seed):
            found.append(draw())
    assert found[0] == found[1]
    assert found[0][0] != found[2][0]
    assert found[0][1] != found[2][1]
    assert found[0][2] != found[2][2]
    assert nets.seed_scope is seed_scope


def test_streams_are_put_back_after_an_error(untouched_rng):
    def work():
        with seed_scope(0):
            draw()
            raise KeyError

    with pytest.raises(KeyError):
        work()


def test_streams_may_be_nested(untouched_rng):
    with seed_scope(1):
        first = draw()
        with seed_scope(2):
            draw()
        second = draw()
    with seed_scope(1):
        assert [first, second] == [draw(), draw()]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_the_streams_of_a_gpu_are_put_back():
    before = torch.cuda.get_rng_state()
    with seed_scope(0, torch.device("cuda")):
        first = torch.rand(2, device="cuda")
    assert torch.equal(torch.cuda.get_rng_state(), before)
    with seed_scope(0, "cuda:0"):
        assert torch.equal(torch.rand(2, device="cuda"), first)


# ---- curves --------------------------------------------------------------------------------------------------------


def module():
    return nn.Sequential(nn.Linear(3, 8), nn.Dropout(), nn.Linear(8, 2))


def ends():
    found = []
    for seed in (1, 2):
        with seed_scope(seed):
            found.append({k: v.detach() for k, v in module().state_dict().items()})
    return found


def augmented():
    """Rows with noise of NumPy's global generator, as a user's own dataset may add it."""
    x = torch.from_numpy(np.linspace(-1, 1, 60, dtype=np.float32).reshape(20, 3))
    for _ in range(10):
        noise = np.random.normal(size=(20, 3)).astype(np.float32)  # noqa: NPY002
        yield Batch(x + torch.from_numpy(noise), (x[:, 0] > 0).long())


def bend(seed):
    with seed_scope(0):
        net = module()
    data = ModuleObjective(net, augmented, criterion=lambda out, b: nn.functional.cross_entropy(out, b.y))
    path = Bezier(n_epochs=4, random_state=seed)(ends(), data)
    return torch.cat([v.flatten() for v in path.controls[1].values()]).tolist()


def test_augmentations_of_the_user_follow_the_seed(untouched_rng):
    with seed_scope(5):
        first = bend(0)
    with seed_scope(6):
        again, other = bend(0), bend(1)
    assert first == again != other


def test_threads_do_not_draw_from_the_stream_of_a_curve(untouched_rng):
    alone = [bend(k) for k in range(4)]
    waiting = threading.Barrier(4)

    def started(k):
        waiting.wait()
        return bend(k)

    with ThreadPoolExecutor(4) as pool:
        assert [*pool.map(started, range(4))] == alone
