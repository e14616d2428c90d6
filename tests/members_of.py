"""Members of the small problem of the common checks, and what must be the same of two pools."""

import numpy as np
import torch

from skfusion.testing import _problems as problems

ROWS = problems.rows()


def collected(collector, net=None, rows=ROWS, seed=0, n_jobs=None, progress=None):
    net = problems.sized_net() if net is None else net
    return collector(net, rows, np.random.RandomState(seed), n_jobs=n_jobs, progress=progress)


def assert_same(pool, other, atol=0.0):
    assert pool.names == other.names
    for one, two in zip(pool, other, strict=True):
        assert one.meta.keys() == two.meta.keys()
        assert [*one.state] == [*two.state]
        for key, tensor in one.state.items():
            torch.testing.assert_close(tensor, two.state[key], rtol=0, atol=atol, msg=f"{one.name}: {key}")
        assert one.rows.tolist() == two.rows.tolist()
        assert type(one.net.module) is type(two.net.module)
    assert (pool.base is None) == (other.base is None)
