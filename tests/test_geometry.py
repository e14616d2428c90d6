"""Distances, cosines and sign conflicts, against loops over single weights."""

import itertools
import math

import pytest
import torch
from torch import nn

from skfusion import ModelPool, SoupClassifier
from skfusion._rows import Rows
from skfusion.collect import FineTunes, Seeds
from skfusion.diagnose import pairwise
from skfusion.geometry import alignments, geometry, gram
from skfusion.landscape import loss_along, segment
from skfusion.nets import Judge, Runner, mlp_classifier
from skfusion.pool import LeakageWarning, Member


def states(n=3, seed=1):
    generator = torch.Generator().manual_seed(seed)
    shapes = {"a.weight": (3, 4), "a.bias": (3,), "bn.running_mean": (3,), "scale": ()}
    made = [{k: torch.randn(s, generator=generator) for k, s in shapes.items()} for _ in range(n)]
    return [{**state, "bn.num_batches_tracked": torch.tensor(k)} for k, state in enumerate(made)]


def numbers(state):
    return [float(v) for k in ("a.weight", "a.bias", "scale") for v in state[k].flatten()]


def test_it_matches_loops_over_weights():
    base, *members = states(5)
    members[0]["a.bias"] = base["a.bias"].clone()  # weights that have not moved
    found = geometry(members, base)
    start = numbers(base)
    for i, j in itertools.product(range(4), repeat=2):
        a, b = numbers(members[i]), numbers(members[j])
        u, v = ([x - s for x, s in zip(w, start, strict=True)] for w in (a, b))
        assert float(found.distance[i, j]) == pytest.approx(math.dist(a, b), abs=1e-12)
        dot = sum(x * y for x, y in zip(u, v, strict=True))
        assert float(found.norm[i]) == pytest.approx(math.hypot(*u))
        assert float(found.cosine[i, j]) == pytest.approx(dot / math.hypot(*u) / math.hypot(*v))
        both = [(x, y) for x, y in zip(u, v, strict=True) if x != 0 and y != 0]
        assert float(found.sign_conflict[i, j]) == pytest.approx(sum(x * y < 0 for x, y in both) / len(both))


def test_without_a_base_there_are_distances_only():
    found = geometry(states())
    assert found.cosine.isnan().all()
    assert found.sign_conflict.isnan().all()
    assert float(found.distance[0, 1]) > 0


def test_opposite_task_vectors():
    base, other = states(2)
    mirrored = {k: 2 * base[k] - t if t.is_floating_point() else t for k, t in other.items()}
    found = geometry([other, mirrored], base)
    assert float(found.cosine[0, 1]) == pytest.approx(-1)
    assert float(found.sign_conflict[0, 1]) == 1
    assert float(found.distance[0, 1]) == pytest.approx(2 * float(found.norm[0]), rel=1e-6)


def test_a_member_at_the_base_has_no_direction():
    base, other = states(2)
    found = geometry([base, other], base)
    assert math.isnan(float(found.cosine[0, 1]))
    assert math.isnan(float(found.sign_conflict[0, 1]))
    assert float(found.distance[0, 1]) == pytest.approx(float(found.norm[1]))


def test_tied_tensors_count_once():
    plain = [{"a": t} for t in (torch.zeros(2), torch.ones(2))]
    tied = [{**s, "b": s["a"]} for s in plain]
    assert torch.equal(geometry(tied).distance, geometry(plain).distance)


def test_small_differences_of_large_weights_are_seen():
    a = {"w": torch.full((4,), 1e6, dtype=torch.float64)}
    found = geometry([a, {"w": a["w"] + 1e-6}])
    assert float(found.distance[0, 1]) == pytest.approx(2e-6, rel=1e-3)


# ---- as a table --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def digits():
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    return X.astype("float32"), y


@pytest.fixture(scope="module")
def tunes(digits):
    X, y = digits
    net = mlp_classifier(max_epochs=4, module__hidden=(16,), module__norm="batch")
    return SoupClassifier(net, collect=FineTunes(n_members=3, init=4), random_state=0).fit(X[:900], y[:900]).pool_


def test_pairs_have_what_lies_between_them(digits, tunes):
    X, y = (part[900:] for part in digits)
    table = pairwise(tunes, X, y, n_points=3)
    assert [*table.index] == [*itertools.combinations(tunes.names, 2)]
    runner = Runner(tunes[0].net, "classification", Rows(X, y))
    data = Judge(runner, Rows(X, y), Rows(X, y))
    first, last = tunes[0].state, tunes[2].state
    profile = loss_along(segment(first, last), data, 3)
    row = table.loc[(tunes.names[0], tunes.names[2])]
    assert row.barrier == pytest.approx(profile.barrier)
    assert row.midpoint_score == pytest.approx(profile.score[1])
    assert row.gain == pytest.approx(profile.score[1] - max(profile.score[0], profile.score[2]))
    assert row.distance == pytest.approx(float(geometry(tunes.states, tunes.base).distance[0, 2]))
    assert (table.cosine > 0).all()  # they went on in like directions
    assert (table.barrier < 0.1).all()  # and stay in one basin


def test_networks_of_unlike_starts_have_barriers(digits):
    X, y = digits
    net = mlp_classifier(max_epochs=8, module__hidden=(16,))
    apart = SoupClassifier(net, collect=Seeds(2), random_state=0).fit(X[:900], y[:900]).pool_
    row = pairwise(apart, X[900:], y[900:]).iloc[0]
    assert row.barrier > 0.3
    assert row.gain < -0.1
    assert math.isnan(row.cosine)


def test_what_cannot_be_compared(digits, tunes):
    X, y = (part[900:] for part in digits)
    with pytest.raises(ValueError, match="two members; the pool has 1"):
        pairwise(tunes[:1])
    with pytest.raises(ValueError, match="odd and at least 3.*got 4"):
        pairwise(tunes, X, y, n_points=4)
    with pytest.raises(ValueError, match="both X and y"):
        pairwise(tunes, X)
    bare = ModelPool([Member(m.name, m.state) for m in tunes], tunes.base)
    with pytest.raises(ValueError, match="give estimator="):
        pairwise(bare, X, y)
    assert len(pairwise(bare)) == 3
    with pytest.warns(LeakageWarning, match="between members"):
        pairwise(tunes, digits[0][:900], digits[1][:900], n_points=3)
    mixed = ModelPool([Member("a", nn.Linear(2, 2).state_dict()), Member("b", nn.Linear(3, 2).state_dict())])
    with pytest.raises(ValueError, match="weight.*shape"):
        pairwise(mixed)


def test_a_large_mean_of_representations_does_not_blur_how_alike_they_are():
    x, y = torch.randn(2, 12, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    near, far = (alignments([gram(x + offset), gram(y)]) for offset in (0.0, 1e7))
    torch.testing.assert_close(far, near, rtol=0, atol=1e-6)
