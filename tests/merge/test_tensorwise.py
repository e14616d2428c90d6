"""What all mergers that look at one tensor at a time have in common."""

import pytest
import torch

from skfusion.merge import TIES, Slerp, TensorMerger, _tensorwise


class Seeing(TensorMerger):
    """Gives the first member, and keeps what it has been handed."""

    def __init__(self):
        self.seen = []

    def survey(self, read, n):
        self.seen += [*read()]

    def tensor(self, entry, known):
        self.seen.append(entry)
        return entry.tensors[0]


class Rooted(Seeing):
    """Needs a base."""

    needs_base = True


def tied(value):
    w = torch.full((2, 2), value)
    return {"a": w, "b": w, "c": torch.full((3,), value)}


@pytest.mark.parametrize("merger", [Seeing, Rooted])
def test_a_base_is_handed_on_where_it_is_needed_only(merger):
    seeing = merger()
    base = {k: v.clone() for k, v in tied(9.0).items()}  # not tied here
    found = seeing([tied(1.0), tied(2.0)], base)
    for entry in seeing.seen:
        assert [float(t.flatten()[0]) for t in entry.tensors] == [1, 2]
        assert all(t.dtype == torch.float64 for t in entry.tensors)
        assert (entry.base is None) == (merger is Seeing)
        assert entry.base is None or torch.equal(entry.base, base[entry.name].double())
    assert (found["a"] is found["b"]) == (merger is Seeing)
    assert len(seeing.seen) == 2 * (2 if merger is Seeing else 3)


@pytest.mark.parametrize("shape", [(7,), (5, 3, 2), (16, 4), ()])
def test_large_tensors_are_merged_in_parts_that_give_the_same(monkeypatch, shape):
    generator = torch.Generator().manual_seed(0)
    states = [
        {"w": torch.randn(shape, generator=generator), "v": torch.randn(2, generator=generator)} for _ in range(3)
    ]
    base = {"w": torch.zeros(shape), "v": torch.zeros(2)}
    whole = TIES(0.5)(states, base=base)
    sizes, tensor = [], TIES.tensor
    monkeypatch.setattr(TIES, "tensor", lambda self, e, known: sizes.append(e.base.numel()) or tensor(self, e, known))
    monkeypatch.setattr(_tensorwise, "_PART", 8)
    strided = [{**s, "w": s["w"].mT.contiguous().mT if s["w"].dim() > 1 else s["w"]} for s in states]
    for found in (TIES(0.5)(states, base=base), TIES(0.5)(strided, base=base)):
        assert max(sizes) <= 8
        assert {name: t.shape for name, t in found.items()} == {name: t.shape for name, t in whole.items()}
        assert all(torch.equal(found[name], whole[name]) for name in whole)


def test_a_merger_that_looks_at_whole_tensors_gets_them(monkeypatch):
    monkeypatch.setattr(_tensorwise, "_PART", 2)
    shapes, tensor = [], Slerp.tensor
    monkeypatch.setattr(
        Slerp, "tensor", lambda self, e, known: shapes.append(e.tensors[0].shape) or tensor(self, e, known)
    )
    Slerp()([{"w": torch.ones(3, 2)}, {"w": torch.eye(3)[:, :2]}])
    assert shapes == [(3, 2)]
