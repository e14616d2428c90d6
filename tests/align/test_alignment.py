"""What aligners return, and aligners that know no symmetry."""

import pickle
from collections.abc import Mapping

import numpy as np
import pytest
import skops.io
import torch
from sklearn.datasets import load_iris

from skfusion import SoupClassifier
from skfusion.align import ActivationMatching, Aligner, Alignment, MergeMany, PermutationAlignment, WeightMatching
from skfusion.collect import Seeds
from skfusion.estimators.support import _alignment
from skfusion.merge import Uniform
from skfusion.nets import mlp_classifier
from skfusion.state import distance
from skfusion.symmetry import Group, Symmetry

AXES = {"0.weight": ("hidden", None), "1.weight": (None, "hidden")}
STATE = {"0.weight": torch.arange(12.0).reshape(4, 3), "1.weight": torch.arange(8.0).reshape(2, 4)}
SYMMETRY = Symmetry.of_axes(AXES, STATE)
SYMMETRY.pinned["1.weight", 0] = "an output"
ORDER = np.array([2, 1, 0, 3])
ALIGNMENT = PermutationAlignment({"hidden": ORDER}, SYMMETRY, history=[1.0, 2.0], matched={"hidden": 0.5})


def test_apply_permutes_by_the_symmetry():
    moved = ALIGNMENT.apply(STATE)
    assert torch.equal(moved["0.weight"], STATE["0.weight"][ORDER])
    assert torch.equal(moved["1.weight"], STATE["1.weight"][:, ORDER])
    assert torch.equal(STATE["0.weight"][0], torch.arange(3.0))


def test_an_alignment_by_permutations_is_a_mapping_by_group():
    assert isinstance(ALIGNMENT, Mapping)
    assert dict(ALIGNMENT).keys() == {"hidden"}
    assert len(ALIGNMENT) == 1
    np.testing.assert_array_equal(ALIGNMENT["hidden"], ORDER)
    back = PermutationAlignment(SYMMETRY.invert(ALIGNMENT), SYMMETRY)
    assert distance(back.apply(ALIGNMENT.apply(STATE)), STATE) == 0
    assert PermutationAlignment(SYMMETRY.compose(ALIGNMENT, back), SYMMETRY) == PermutationAlignment(
        SYMMETRY.identity(), SYMMETRY
    )


def test_equality_is_that_of_the_permutations():
    assert PermutationAlignment({"hidden": [2, 1, 0, 3]}, SYMMETRY) == ALIGNMENT
    assert PermutationAlignment({"hidden": [0, 1, 2, 3]}, SYMMETRY) != ALIGNMENT
    assert PermutationAlignment({}, SYMMETRY) != ALIGNMENT
    assert dict(ALIGNMENT) != ALIGNMENT


def test_describe_and_repr_count_the_units_that_move():
    groups = [Group("heads", 2), Group("channels", 3, ("heads",))]
    symmetry = Symmetry(groups, {}, {})
    perms = {"heads": np.array([1, 0]), "channels": np.array([[0, 1, 2], [1, 0, 2]])}
    alignment = PermutationAlignment(perms, symmetry, [3.0, 4.0], {"channels": 0.25})
    table = alignment.describe()
    assert [*table.columns] == ["group", "size", "moved", "similarity"]
    assert table[["group", "size", "moved"]].to_numpy().tolist() == [["heads", 2, 2], ["channels", 3, 2]]
    assert np.isnan(table["similarity"][0])
    assert table["similarity"][1] == 0.25
    assert table.attrs["history"] == [3.0, 4.0]
    assert repr(alignment) == "PermutationAlignment(2 groups, 4 units moved)"


def by_pickle(thing):
    return pickle.loads(pickle.dumps(thing))


def by_skops(thing):
    data = skops.io.dumps(thing)
    return skops.io.loads(data, trusted=skops.io.get_untrusted_types(data=data))


@pytest.mark.parametrize("through", [by_pickle, by_skops])
def test_an_alignment_can_be_stored(through):
    again = through(ALIGNMENT)
    assert again == ALIGNMENT
    assert again.history == (1.0, 2.0)
    assert again.matched == {"hidden": 0.5}
    assert distance(again.apply(STATE), ALIGNMENT.apply(STATE)) == 0


@pytest.mark.parametrize("align", [WeightMatching(), MergeMany(), ActivationMatching()], ids=lambda a: type(a).__name__)
def test_a_missing_symmetry_is_asked_for(align):
    message = rf"{type(align).__name__}\(\) needs to know which units may change places.*symmetry_of\(module"
    with pytest.raises(ValueError, match=message):
        align(STATE, STATE)
    with pytest.raises(ValueError, match=message):
        align.align_all([STATE, STATE])


# ---- an aligner of another kind, as it would be added --------------------------------------------------------------


class Scaled(Alignment):
    def __init__(self, factor):
        self.factor = factor

    def apply(self, state):
        return {name: tensor * self.factor for name, tensor in state.items()}

    def describe(self):
        return []


class NormMatching(Aligner):
    """Scales a state to the norm of the first layer of the reference; it needs to know of no units."""

    needs_symmetry = False

    def __call__(self, state, reference, symmetry=None, objective=None):
        return Scaled(float(reference["layers.0.weight"].norm() / state["layers.0.weight"].norm()))


def test_an_architecture_is_traced_only_for_aligners_that_need_its_symmetry(monkeypatch):
    traced = []
    trace = _alignment.symmetry_of
    monkeypatch.setattr(_alignment, "symmetry_of", lambda *args, **how: traced.append(1) or trace(*args, **how))
    X, y = load_iris(return_X_y=True)
    net = mlp_classifier(max_epochs=5, module__hidden=(6,))

    def soup(align):
        return SoupClassifier(net, collect=Seeds(2), align=align, merge=Uniform(), random_state=0).fit(X, y)

    soup(WeightMatching())
    assert traced
    traced.clear()
    scaled = soup(NormMatching())
    assert not traced
    assert scaled.symmetry_ is None
    first, second = scaled.alignments_.values()
    assert first.factor == 1
    states = [m.state["layers.0.weight"] for m in scaled.pool_]
    expected = (states[0] + states[1] * second.factor) / 2
    torch.testing.assert_close(scaled.state_["layers.0.weight"], expected)
