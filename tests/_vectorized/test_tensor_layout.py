"""Tensors that cannot become rows of a matrix, and copies of those that have."""

import copy

import pytest
import torch
from torch import nn

from skfusion._vectorized import Members, NotVectorizableError, VectorizedModules


class Two(nn.Module):
    """Two layers, and something that is done to them."""

    def __init__(self, change):
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)
        change(self)

    def forward(self, x):
        return self.b(self.a(x))


def flat(module):
    """Lay all parameters into one piece of memory, each in a place of its own."""
    whole = torch.randn(40)
    for p, part in zip(module.parameters(), whole.split([16, 4, 16, 4]), strict=True):
        p.data = part.view(p.shape)


SHARING = {
    "transposed": lambda m: setattr(m.b.weight, "data", m.a.weight.data.t()),
    "parameter of a parameter": lambda m: setattr(m.b, "weight", nn.Parameter(m.a.weight)),
    "buffer": lambda m: m.register_buffer("held", m.a.weight.data),
    "the same as a buffer": lambda m: m.register_buffer("held", m.a.weight),
    "a part": lambda m: m.register_buffer("held", m.a.weight.data[1:2, 2]),
}


@pytest.mark.parametrize("name", SHARING)
def test_tensors_that_share_memory_are_refused(name):
    with pytest.raises(NotVectorizableError, match="its tensors '.*' and '.*' share memory"):
        VectorizedModules([Two(SHARING[name]) for _ in range(2)])


def test_places_of_ones_own_in_one_piece_of_memory_are_taken():
    modules = [Two(flat) for _ in range(2)]
    before = [m.a.weight.detach().clone() for m in modules]
    VectorizedModules(modules)
    assert all(torch.equal(m.a.weight, w) for m, w in zip(modules, before, strict=True))


def test_a_parameter_that_members_share_is_refused():
    weight = nn.Parameter(torch.randn(4, 4))
    with pytest.raises(NotVectorizableError, match="its members share a parameter"):
        VectorizedModules([Two(lambda m: setattr(m.b, "weight", weight)) for _ in range(2)])


@pytest.mark.parametrize("register", ["register_hook", "register_post_accumulate_grad_hook"])
def test_hooks_of_gradients_are_refused(register):
    with pytest.raises(NotVectorizableError, match="a hook waits for the gradient of its parameter 'a.weight'"):
        VectorizedModules([Two(lambda m: getattr(m.a.weight, register)(lambda _: None)) for _ in range(2)])


def test_buffers_that_are_none_are_names_too():
    with pytest.raises(NotVectorizableError, match="members 0 and 1 differ in their tensors"):
        VectorizedModules([Two(lambda m: m.register_buffer("held", None)), Two(lambda m: None)])


class Made(Two):
    def __init__(self):
        super().__init__(lambda m: m.register_buffer("held", None))

    def forward(self, x):
        self.held = x.detach()
        return super().forward(x)


def test_a_buffer_that_a_forward_pass_makes_is_refused():
    vectorized = VectorizedModules([Made() for _ in range(2)])
    with pytest.raises(NotVectorizableError, match="it makes its buffer 'held'"), vectorized.running(True) as module:
        module(Members(torch.ones(2, 3, 4)))


# ---- copies ------------------------------------------------------------------------------------------------------


def bytes_held(state):
    return sum({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in state.values()}.values())


def test_a_copy_of_a_members_state_is_that_of_one_member():
    modules = [nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)) for _ in range(16)]
    own = bytes_held(modules[0].state_dict())
    vectorized = VectorizedModules(modules)
    copied = copy.deepcopy(modules[3].state_dict())
    assert bytes_held(copied) == own
    assert all(torch.equal(copied[name], t) for name, t in modules[3].state_dict().items())
    before = copied["0.weight"].clone()
    modules[3].state_dict()["0.weight"].add_(1)  # which still is the member's own
    torch.testing.assert_close(vectorized.theta[3, :16].view(4, 4), before + 1)
    assert torch.equal(copied["0.weight"], before)


def test_a_members_state_is_saved_alone_and_plain(tmp_path):
    modules = [nn.Linear(4, 4) for _ in range(64)]
    sizes = []
    for together in (False, True):
        vectorized = VectorizedModules(modules) if together else None
        torch.save(modules[3].state_dict(), tmp_path / "state.pt")
        sizes.append((tmp_path / "state.pt").stat().st_size)
        found = torch.load(tmp_path / "state.pt", weights_only=True)
        assert all(type(t) is torch.Tensor and torch.equal(t, modules[3].state_dict()[n]) for n, t in found.items())
        assert type(modules[3].state_dict()["weight"] * 2) is torch.Tensor
        assert vectorized is None or vectorized.intact()
    assert sizes[1] <= 1.2 * sizes[0]


def test_members_that_have_left_are_as_they_were_made():
    modules = [nn.Linear(2, 2) for _ in range(3)]
    vectorized = VectorizedModules(modules)
    assert all(m._state_dict_hooks for m in modules)
    vectorized.keep([2, 0])
    assert [len(m._state_dict_hooks) for m in modules] == [1, 0, 1]
    vectorized.release(range(2))
    assert not any(m._state_dict_hooks for m in modules)


def test_a_single_member_has_a_spare_row_like_its_own():
    vectorized = VectorizedModules([nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))])
    assert torch.equal(vectorized.theta[1], vectorized.theta[0])
    assert all(torch.equal(t[1], t[0]) for t in vectorized.held.values())
