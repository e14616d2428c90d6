"""What all mergers that look at one tensor at a time have in common."""

import pytest
import torch

from skfusion.merge import TensorMerger


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
