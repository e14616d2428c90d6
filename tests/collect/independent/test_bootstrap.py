"""Bootstrap samples."""

import numpy as np
import pytest
import torch

from skfusion import nets
from skfusion._rows import Rows
from skfusion.collect import Bootstrap, Seeds
from skfusion.nets import mlp_regressor
from skfusion.testing import _problems as problems


def test_a_share_of_1_over_e_is_left_out():
    x = np.random.RandomState(0).normal(size=(2000, 1)).astype(np.float32)
    net = mlp_regressor(max_epochs=1, module__hidden=(2,), batch_size=2000)
    pool = Bootstrap(6).collect(net, x, x, random_state=0)
    left_out = 1 - np.array([len(m.rows) for m in pool]) / 2000
    deviation = np.sqrt(np.exp(-1) * (1 - 2 * np.exp(-1)) / 2000)  # of one member's share
    assert np.abs(left_out - np.exp(-1)).max() < 4 * deviation


def test_a_member_is_a_run_on_its_sample():
    rows = problems.rows()
    pool = Bootstrap(3, vectorize=False).collect(problems.net(), rows.X, rows.y, random_state=7)
    rng = np.random.RandomState(7)
    seeds = rng.randint(np.iinfo(np.int32).max, size=3)
    for member, seed in zip(pool, seeds, strict=True):
        index = rng.randint(24, size=24)
        fitted = nets.fit(member.net, rows.take(index), int(seed))
        assert all(torch.equal(v, member.state[k]) for k, v in nets.state_of(fitted).items())
        assert np.array_equal(member.rows, np.unique(rows.marks[index]))


def test_sample_weights_travel_with_their_rows():
    rows = problems.rows()
    weight = np.linspace(0.5, 1.5, 24)
    pool = Bootstrap(1).collect(problems.net(), rows.X, rows.y, random_state=7, sample_weight=weight)
    rng = np.random.RandomState(7)
    seed = int(rng.randint(np.iinfo(np.int32).max, size=1)[0])
    sample = Rows(rows.X, rows.y, weight).take(rng.randint(24, size=24))
    fitted = nets.fit(pool[0].net, sample, seed)
    assert all(torch.equal(v, pool[0].state[k]) for k, v in nets.state_of(fitted).items())


def test_max_samples_is_a_share_of_the_rows():
    rows = problems.rows()
    pool = Bootstrap(4, max_samples=0.25).collect(problems.net(), rows.X, rows.y, random_state=0)
    assert all(1 <= len(m.rows) <= 6 for m in pool)
    assert any(len(m.rows) > 3 for m in pool)


def test_a_class_that_a_sample_misses_keeps_its_output():
    x = np.arange(12, dtype=np.float32)[:, None]
    y = np.array([0] * 11 + [1])
    pool = Bootstrap(5).collect(problems.net(module__norm=None), x, y, random_state=0)
    missed = [m for m in pool if not np.isin(Rows(x, y).marks[-1:], m.rows)[0]]
    assert missed
    assert {m.state["layers.2.bias"].shape for m in pool} == {(2,)}


@pytest.mark.parametrize("params", [{"max_samples": 0.0}, {"max_samples": 1.5}, {"n_members": 0}])
def test_wrong_parameters_are_refused(params):
    rows = problems.rows()
    with pytest.raises(ValueError, match=next(iter(params))):
        Bootstrap(**params).collect(problems.net(), rows.X, rows.y, random_state=0)


def same_state(a, b):
    return a.keys() == b.keys() and all(torch.equal(v, b[k]) for k, v in a.items())


def test_all_rows_without_replacement_are_independent_runs():
    rows = problems.rows()
    pool = Bootstrap(3, bootstrap=False).collect(problems.net(), rows.X, rows.y, random_state=7)
    seeds = Seeds(3).collect(problems.net(), rows.X, rows.y, random_state=7)
    assert all(same_state(a.state, b.state) for a, b in zip(pool, seeds, strict=True))
    assert all(np.array_equal(m.rows, rows.marks) for m in pool)


def test_a_share_without_replacement_has_no_row_twice():
    rows = problems.rows()
    pool = Bootstrap(5, max_samples=0.5, bootstrap=False).collect(problems.net(), rows.X, rows.y, random_state=0)
    assert {len(m.rows) for m in pool} == {12}
    assert len({m.rows.tobytes() for m in pool}) == 5


@pytest.mark.parametrize("bootstrap", [True, False], ids=["bootstrap", "pasting"])
def test_whole_groups_are_drawn(bootstrap):
    x = np.random.RandomState(0).normal(size=(60, 2)).astype(np.float32)
    groups = np.random.RandomState(1).permutation(np.repeat(["a", "b", "c", "d", "e", "f"], [4, 6, 8, 10, 12, 20]))
    collect, drawn = Bootstrap(8, max_samples=0.5, bootstrap=bootstrap, vectorize="auto"), []
    for member in collect.collect(mlp_regressor(max_epochs=1), x, x, random_state=0, groups=groups):
        seen = np.isin(Rows(x, x).marks, member.rows)
        drawn.append({str(g) for g in groups[seen]})
        assert not seen[~np.isin(groups, [*drawn[-1]])].any()
        assert seen[np.isin(groups, [*drawn[-1]])].all()
    assert {len(d) for d in drawn} <= ({1, 2, 3} if bootstrap else {3})
    assert len({frozenset(d) for d in drawn}) > 2


def test_groups_of_one_row_are_rows():
    rows = problems.rows()
    given = problems.net(), rows.X, rows.y
    plain = Bootstrap(3).collect(*given)
    single = Bootstrap(3).collect(*given, groups=np.arange(24))
    assert all(same_state(a.state, b.state) for a, b in zip(plain, single, strict=True))


def test_the_columns_do_not_change_the_bags():
    rows = problems.rows()
    given = problems.net(), rows.X, rows.y
    plain = Bootstrap(3).collect(*given)
    narrow = Bootstrap(3, max_features=1).collect(*given)
    assert all(np.array_equal(a.rows, b.rows) for a, b in zip(plain, narrow, strict=True))
    assert "columns" not in plain[0].meta
