"""The state of a module that is being trained, read after every step at nearly no cost."""

from __future__ import annotations

from torch import nn

from skfusion._vectorized import slots_of
from skfusion.state import State


class LiveState:
    """The tensors of a module by name, as ``state_dict()`` gives them, without the names being made anew.

    An optimiser writes into the tensors, which the state shares, so the same dict is right after every step. It is made
    anew where a tensor lies elsewhere than before, and every time where ``state_dict()`` gives something else than the
    module's parameters and buffers.
    """

    def __init__(self, module: nn.Module):
        self.module = module
        self._make()

    def _make(self) -> None:
        self.state: State = self.module.state_dict()
        slots = slots_of(self.module)
        self.places = [(*slots[name][0], tensor.data_ptr()) for name, tensor in self.state.items() if name in slots]
        plain = len(self.places) == len(self.state)
        self.lasts = plain and all(holder[key].data_ptr() == place for holder, key, place in self.places)

    def now(self) -> State:
        """Return the present state, whose tensors the next step overwrites."""
        if not self.lasts:
            return self.module.state_dict()
        for holder, key, place in self.places:
            if (tensor := holder.get(key)) is None or tensor.data_ptr() != place:
                self._make()
                break
        return self.state
