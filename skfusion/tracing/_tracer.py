"""Watch a module run, and label the axes of all tensors on the way."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from skfusion.tracing._axis import fixed_axis
from skfusion.tracing._call import Call, Labelled, Rule, find_rule
from skfusion.tracing._engine import Label
from skfusion.tracing._labels import Labels, Origin
from skfusion.tracing.rules import CONTRACTIONS

READS_ONE = frozenset({"_local_scalar_dense", "is_nonzero", "equal"})
READS_ALL = frozenset({Tensor.tolist, Tensor.numpy, Tensor.__array__})
LIBRARIES = tuple(str(Path(file).parent) for file in (torch.__file__, __file__))


@dataclass(eq=False)
class RawSite:
    """An activation of a contraction, with its label."""

    index: int
    argument: int | None
    name: str
    where: str
    shape: tuple[int, ...]
    label: Label


class Tracer(TorchDispatchMode):
    """A mode in which every ATen operation labels what it returns.

    Parameters
    ----------
    labels : Labels
        Where labels are kept.

    Attributes
    ----------
    used : set of int
        Identities of the tensors that operations have taken.
    sites : list of RawSite
        Activations of contractions.
    branches : dict
        Where the module's code reads numbers that depend on its inputs or weights: places, without repetition.
    where : list of str
        The modules that are running, innermost last.
    """

    def __init__(self, labels: Labels):
        super().__init__()  # type: ignore[no-untyped-call]
        self.labels, self.engine = labels, labels.engine
        self.used: set[int] = set()
        self.sites: list[RawSite] = []
        self.branches: dict[str, None] = {}
        self.where: list[str] = []
        self._n_contractions = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation, then label its outputs."""
        call = Call(self.labels, func, args, kwargs or {})
        call.out = out = func(*args, **(kwargs or {}))
        self.engine.operation, self.engine.where = call.name, self.where[-1] if self.where else ""
        self.used.update(id(t) for t in call.tensors)
        for tensor in call.tensors:
            self.labels.use(tensor)
        if any(isinstance(o, Tensor) for o in call.outs):
            self._follow(call, find_rule(func))
        elif call.name in READS_ONE:
            for tensor in call.tensors:
                self.read(tensor)
        return out

    def read(self, tensor: Tensor) -> None:
        """Write down that Python code reads the numbers of a tensor."""
        self.labels.use(tensor)
        if self.labels.origin([tensor]) is not Origin.CONSTANT:
            self.branches.setdefault(_place())
            for axis in self.labels.of(tensor):
                self.engine.pin_axis(axis, "read by Python code")

    # ------------------------------------------------------------------------------------------------------ operations

    def _follow(self, call: Call, rule: Rule | None) -> None:
        origin, written = self.labels.origin(call.tensors), call.written
        before = {id(t): self.labels.of(t) for t in written}
        labels = [self.labels.of(t) for t in call.tensors]
        if call.name in CONTRACTIONS and origin is Origin.INPUTS:
            self._record_arguments(call, labels)
        if rule is None or not rule.view:
            for label in labels:
                self.engine.settle(label)
        found = self._outputs(call, rule)
        for out, label in zip(call.outs, found, strict=True):
            if isinstance(out, Tensor):
                self.labels.put(out, label, origin)
        for tensor in written:
            self.labels.no_constant(tensor, origin)
            if rule is not None and not rule.view:  # what stood there and what stands there now move alike
                for old, new in zip(before[id(tensor)], self.labels.of(tensor), strict=True):
                    self.engine.unify(old, new)
        if call.name in CONTRACTIONS:
            if origin is Origin.INPUTS:
                self._record(call, None, call.first, found[0])
            self._n_contractions += 1

    def _outputs(self, call: Call, rule: Rule | None) -> list[Label]:
        """Return a label of each output; where there is no rule, or it gives up, all axes are pinned."""
        told: Labelled = None
        tensors = [o for o in call.outs if isinstance(o, Tensor)]
        if all(not t.numel() for t in tensors):
            return [_fixed(out) for out in call.outs]
        problem = "is not known"
        if rule is not None:
            try:
                told = rule.function(call)
                problem = "is not followed in this form"
            except Exception as error:  # a fault in a rule must not do harm: what it has not said is pinned
                problem = f"has a rule that failed ({type(error).__name__}: {error})"
        if told is None:
            self._give_up(call, problem)
            return [_fixed(out) for out in call.outs]
        labels = [told] if isinstance(call.out, Tensor) else list(told)
        return [self._fitting(call, out, label) for out, label in zip(call.outs, labels, strict=True)]

    def _fitting(self, call: Call, out: Any, label: Any) -> Label:
        """Return a label that fits; outputs that a rule says nothing about pin the arguments once they are used."""
        if isinstance(out, Tensor) and label is not None and [axis.n for axis in label] == list(out.shape):
            return list(label)
        if isinstance(out, Tensor):
            self.labels.tells_order(out, [axis for t in call.tensors for axis in self.labels.of(t)])
        return _fixed(out)

    def _give_up(self, call: Call, problem: str) -> None:
        axes = [axis for t in call.tensors for axis in self.labels.of(t)]
        if not all(self.engine.resolve(axis).fixed for axis in axes):
            place = f"in module {self.engine.where!r}" if self.engine.where else "in the module itself"
            note = f"operation {call.name} {place} {problem}: the axes that it touches are pinned"
            if note not in self.engine.notes:
                self.engine.notes.append(note)
        for axis in axes:
            self.engine.pin_axis(axis, f"operation {call.name} {problem}")

    # ----------------------------------------------------------------------------------------------------------- sites

    def _record_arguments(self, call: Call, labels: list[Label]) -> None:
        for argument, (tensor, label) in enumerate(zip(call.tensors, labels, strict=True)):
            if self.labels.origin([tensor]) is Origin.INPUTS:
                self._record(call, argument, tensor, label)

    def _record(self, call: Call, argument: int | None, tensor: Tensor, label: Label) -> None:
        shape, where = tuple(tensor.shape), self.engine.where
        self.sites.append(RawSite(self._n_contractions, argument, call.name, where, shape, list(label)))


class Readings(TorchFunctionMode):
    """A mode that tells a tracer where Python code reads whole tensors, which is no ATen operation.

    Parameters
    ----------
    tracer : Tracer
        Who is told.
    """

    def __init__(self, tracer: Tracer):
        super().__init__()
        self._tracer = tracer

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run a function."""
        if func in READS_ALL:
            self._tracer.read(args[0])
        return func(*args, **(kwargs or {}))


@contextmanager
def named_modules(module: nn.Module, where: list[str]) -> Iterator[None]:
    """Keep the names of the modules that are running in a list."""
    hooks = []
    try:
        for name, part in module.named_modules():
            enter, leave = _entering(where, name), _leaving(where)
            hooks.append(part.register_forward_pre_hook(enter))
            hooks.append(part.register_forward_hook(leave, always_call=True))
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _entering(where: list[str], name: str) -> Any:
    return lambda module, args: where.append(name)


def _leaving(where: list[str]) -> Any:
    def leave(module: nn.Module, args: Any, out: Any) -> None:
        where.pop()

    return leave


def _fixed(out: Any) -> Label:
    return [fixed_axis(n) for n in out.shape] if isinstance(out, Tensor) else []


def _place() -> str:
    """Return file and line of the innermost code that belongs neither to torch nor to this package."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(LIBRARIES):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"
