"""What a module computes, as a list of kernels: recorded once, run again without the module.

For a single row the calls of a module's forward pass cost several times its arithmetic. A program is what is left when
all that does not depend on the input is computed beforehand.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

from skfusion.stacked._members import OF_ONE_MEMBER, RULES, Members


class NotRecordableError(RuntimeError):
    """A forward pass has steps that a program cannot repeat."""


class Program:
    """The steps from an input to an output.

    Parameters
    ----------
    function : callable
        ``function(x)`` is the output, a tensor; its steps may depend on the shape of ``x``, but not on its values.
    x : Tensor
        An example. Programs run for inputs of its shape only.

    Raises
    ------
    NotRecordableError
        If a step changes a tensor in place, gets tensors in lists, or is one of ``vmap``.
    """

    def __init__(self, function: Callable[[Tensor], Tensor], x: Tensor):
        recorder = _Recorder(x)
        with recorder:
            out = function(x)
        if id(out) not in recorder.places:
            raise NotRecordableError("The output does not depend on the input.")
        self.shape = x.shape
        self._steps, self._out = recorder.steps, recorder.places[id(out)]

    def __call__(self, x: Tensor) -> Tensor:
        """Return the output for an input.

        Parameters
        ----------
        x : Tensor
            Of the shape and dtype of the example.

        Returns
        -------
        Tensor
            What the function would give.
        """
        values = [x]
        for function, given, slots, kwargs in self._steps:
            args = list(given)
            for position, place in slots:
                args[position] = values[place]
            values.append(function(*args, **kwargs))
        return values[self._out]


class _Recorder(TorchFunctionMode):
    """Writes down the functions that are applied to what depends on the input, and computes the others."""

    def __init__(self, x: Tensor):
        super().__init__()
        self.steps: list[tuple[Any, list[Any], list[tuple[int, int]], dict[str, Any]]] = []
        self.places = {id(x): 0}
        self.alive: list[Any] = [x]

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Apply a function, and write it down."""
        kwargs = kwargs or {}
        if any(issubclass(t, Members) for t in types):
            if func in OF_ONE_MEMBER:
                return func(*args, **kwargs)
            if func not in RULES:
                raise NotRecordableError(f"{func} runs in vmap.")
            with self:  # write down what its rule does
                found = RULES[func](func, *args, **kwargs)
            if found is NotImplemented:
                raise NotRecordableError(f"{func} runs in vmap.")
            return Members(found) if isinstance(found, Tensor) else found
        name = getattr(func, "__name__", "")
        if (name.endswith("_") and not name.endswith("__")) or "out" in kwargs or name == "__setitem__":
            raise NotRecordableError(f"{name} changes a tensor in place.")
        out = func(*args, **kwargs)
        slots = [(i, self.places[id(a)]) for i, a in enumerate(args) if id(a) in self.places]
        nested = [*kwargs.values(), *(a for part in args if isinstance(part, (list, tuple)) for a in part)]
        if any(id(a) in self.places for a in nested):
            raise NotRecordableError(f"{name} gets tensors in lists or by name.")
        if not slots or func in OF_ONE_MEMBER:
            self.alive.append(out)
            return out
        if not isinstance(out, Tensor):
            raise NotRecordableError(f"{name} reads values of the input.")
        self.alive.append(out)
        self.steps.append((func, [None if id(a) in self.places else a for a in args], slots, kwargs))
        self.places[id(out)] = len(self.steps)
        return out
