"""A scale that is chosen on held-out rows."""

import math
import weakref

import pytest
import torch
from torch import nn

from skfusion.merge import DARE, TIES, Breadcrumbs, Interpolate, ModelStock, TaskArithmetic, Uniform
from skfusion.objective import ModuleObjective, Objective

GRID = (0.4, 0.8, 1.2, 1.6)
MERGERS = [
    TaskArithmetic(None, grid=GRID),
    TIES(0.5, None, grid=GRID),
    TIES([0.5, 1.0, 0.3], None, [1.0, 2.0, 0.5], GRID),
    Breadcrumbs(0.5, 0.1, None, [1.0, -1.0, 2.0], GRID),
    DARE(0.5, TaskArithmetic(None, grid=GRID)),
    DARE([0.1, 0.5, 0.9], TIES(1.0, None, grid=GRID)),
    DARE(0.5, DARE(0.2, Breadcrumbs(0.5, 0.1, None, grid=GRID), random_state=1)),
]


def states(n, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shapes = {"w": (5, 4), "b": (7,), "n": ()}
    found = [
        {k: torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) for k, shape in shapes.items()}
        for _ in range(n)
    ]
    return [{**s, "n": torch.tensor(k)} for k, s in enumerate(found)]


def objective(score, report=None):
    return ModuleObjective(
        nn.Identity(), lambda: [], lambda s: -score(s), score, report=report or (lambda name, value: None)
    )


def fixed(merge, scale):
    """The merger with a number, wherever it has none."""
    name = next(k for k in merge.get_params() if k.rpartition("__")[2] == "scale")
    copy = type(merge)(**merge.get_params(deep=False))
    if "__" in name:
        copy.set_params(merge=fixed(merge.merge, scale))
    return copy if "__" in name else copy.set_params(scale=scale)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("merge", MERGERS, ids=repr)
def test_the_best_scale_is_taken_and_reported_and_its_merge_returned(merge, dtype):
    base, *members = states(4, dtype)
    aim = fixed(merge, 1.2)(members, base)
    told = {}
    data = objective(lambda s: -float((s["w"] - aim["w"]).double().square().sum()), told.__setitem__)
    shown = repr(merge)
    found = merge(members, base, data)
    assert told["scale"] == 1.2
    assert [*told["scale_scores"]] == [*GRID]
    assert told["scale_scores"][1.2] == 0
    assert all(torch.equal(found[k], t) for k, t in aim.items())
    assert repr(merge) == shown


@pytest.mark.parametrize("merge", MERGERS, ids=repr)
def test_data_are_needed_only_where_a_scale_is_chosen(merge):
    base, *members = states(4)
    assert merge.needs_objective
    assert merge.needs_labels
    with pytest.raises(ValueError, match=r"scale=None. chooses by the held-out score"):
        merge(members, base)
    number = fixed(merge, 1.0)
    assert not number.needs_objective
    assert not number.needs_labels
    number(members, base)


def test_dare_chooses_what_interpolate_has_and_nothing_for_others():
    base, *members = states(4)
    aim = DARE(0.5, Interpolate(0.25))(members, base)
    data = objective(lambda s: -float((s["w"] - aim["w"]).square().sum()))
    assert torch.equal(DARE(0.5, Interpolate(None))(members, base, data)["w"], aim["w"])
    for inner in (Uniform(), ModelStock()):
        assert not DARE(0.5, inner).needs_objective
        assert torch.equal(DARE(0.5, inner)(members, base, data)["w"], DARE(0.5, inner)(members, base)["w"])


@pytest.mark.parametrize("merge", MERGERS, ids=repr)
def test_candidates_are_not_kept(merge):
    base, *members = states(4)
    known = []

    class Weak(Objective):
        module = nn.Identity()

        def batches(self):
            return []

        def scores(self, candidates):
            waiting = iter(candidates)
            while (state := next(waiting, None)) is not None:
                known.append(weakref.ref(state["w"]))
                del state
                assert all(ref() is None for ref in known)
            return [0.0] * len(known)

    merge(members, base, Weak())
    assert len(known) == len(GRID)


@pytest.mark.parametrize("kind", [TIES, Breadcrumbs, TaskArithmetic])
def test_a_scale_that_is_not_finite_and_a_grid_of_nothing_are_refused(kind):
    base, *members = states(3)
    data = objective(lambda s: 0.0)
    with pytest.raises(ValueError, match=f"scale of {kind.__name__} must be a finite number, or None; got inf"):
        kind(scale=math.inf)(members, base, data)
    with pytest.raises(ValueError, match="grid for scale must hold finite numbers, one at least"):
        kind(scale=None, grid=())(members, base, data)
    with pytest.raises(ValueError, match="No scale of the grid .* has a held-out score that is a number"):
        kind(scale=None)(members, base, objective(lambda s: math.nan))
