"""Watch a module run, and label the axes of every tensor that it computes.

All of torch ends in a few hundred ATen operations, which a dispatch mode sees one by one, with the true tensors. So no
layer has to be known, and what Python code does in between does not matter unless it reads numbers of a tensor.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from skfusion.symmetry import Site
from skfusion.tracing._call import Call, Labelled, Labels, Origin, Rule, find_rule
from skfusion.tracing._uses import Uses
from skfusion.tracing.algebra import Axis, Label, fixed_axes
from skfusion.tracing.rules import CONTRACTIONS

# Operations, and functions that are none, by which Python code reads the numbers of a tensor.
READS_ONE = frozenset({"_local_scalar_dense", "is_nonzero", "equal"})
READS_ALL = frozenset({Tensor.tolist, Tensor.numpy, Tensor.__array__})
LIBRARIES = tuple(str(Path(file).parent) for file in (torch.__file__, __file__))


class Tracer(TorchDispatchMode):
    """A mode in which the results of every ATen operation get labels."""

    def __init__(self, labels: Labels, uses: Uses):
        super().__init__()  # type: ignore[no-untyped-call]
        self.labels, self.engine, self.uses = labels, labels.engine, uses
        self.used: set[int] = set()  # identities of the tensors that operations have taken
        self.sites: list[tuple[Site, Label]] = []  # inputs and outputs of contractions, whose axes are not known yet
        self.branches: dict[str, None] = {}  # lines of code that read numbers which depend on inputs or weights
        self.where: list[str] = []  # the modules that are running, innermost last
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
        """Record that Python code reads the numbers of a tensor: what it does with them cannot be followed."""
        self.labels.use(tensor)
        if self.labels.origin([tensor]) is not Origin.CONSTANT:
            self.branches.setdefault(_place())
            self.engine.pin_axes(self.labels.of(tensor), "read by Python code")

    # ------------------------------------------------------------------------------------------------------ operations

    def _follow(self, call: Call, rule: Rule | None) -> None:
        """Label the results of an operation, and record the activations at contractions as sites."""
        origin, written = self.labels.origin(call.tensors), call.written
        before = {id(t): self.labels.of(t) for t in written}
        labels = [self.labels.of(t) for t in call.tensors]
        self.uses.see(call, origin)
        if call.name in CONTRACTIONS and origin is Origin.INPUTS:
            self._record_arguments(call, labels)
        if rule is None or not rule.view:
            for label in labels:
                self.engine.settle(label)
        results = self._outputs(call, rule)
        for out, label in zip(call.outs, results, strict=True):
            if isinstance(out, Tensor):
                self.labels.put(out, label, origin)
        for tensor in written:
            self.labels.no_constant(tensor, origin)
            if rule is not None and not rule.view:  # views of the memory keep the old label, so both must move together
                for old, new in zip(before[id(tensor)], self.labels.of(tensor), strict=True):
                    self.engine.unify(old, new)
        if call.name in CONTRACTIONS:
            if origin is Origin.INPUTS:
                self._record(call, None, call.first, results[0])
            self._n_contractions += 1

    def _outputs(self, call: Call, rule: Rule | None) -> list[Label]:
        """Return a label of each output; where there is no rule, or it gives up, all axes are pinned."""
        answer: Labelled = None
        tensors = [o for o in call.outs if isinstance(o, Tensor)]
        if all(not t.numel() for t in tensors):
            return [_fixed(out) for out in call.outs]
        problem = "is not known"
        if rule is not None:
            try:
                answer = rule.function(call)
                problem = "is not followed in this form"
            except Exception as error:  # an error in a rule must do no harm: what it has not said is pinned
                problem = f"has a rule that failed ({type(error).__name__}: {error})"
        if answer is None:
            self._give_up(call, problem)
            return [_fixed(out) for out in call.outs]
        of_all = all(isinstance(axis, Axis) for axis in answer)
        labels = [answer] * len(call.outs) if of_all else [*answer, *[None] * len(call.outs)]
        return [self._fitting(call, out, label) for out, label in zip(call.outs, labels, strict=False)]

    def _fitting(self, call: Call, out: Any, label: Any) -> Label:
        """Return a label that fits; an output about which a rule says nothing pins the arguments once it is used."""
        if isinstance(out, Tensor) and label is not None and [axis.n for axis in label] == list(out.shape):
            return list(label)
        if isinstance(out, Tensor):
            self.labels.reveals_order(out, [axis for t in call.tensors for axis in self.labels.of(t)])
        return _fixed(out)

    def _give_up(self, call: Call, problem: str) -> None:
        axes = [axis for t in call.tensors for axis in self.labels.of(t)]
        if not all(self.engine.resolve(axis).fixed for axis in axes):
            place = f"in module {self.engine.where!r}" if self.engine.where else "in the module itself"
            note = f"operation {call.name} {place} {problem}: the axes that it touches are pinned"
            if note not in self.engine.notes:
                self.engine.notes.append(note)
        self.engine.pin_axes(axes, f"operation {call.name} {problem}")

    # ----------------------------------------------------------------------------------------------------------- sites

    def _record_arguments(self, call: Call, labels: list[Label]) -> None:
        for argument, (tensor, label) in enumerate(zip(call.tensors, labels, strict=True)):
            if self.labels.origin([tensor]) is Origin.INPUTS:
                self._record(call, argument, tensor, label)

    def _record(self, call: Call, argument: int | None, tensor: Tensor, label: Label) -> None:
        shape, where = tuple(tensor.shape), self.engine.where
        self.sites.append((Site(self._n_contractions, argument, call.name, where, shape, ()), list(label)))


class Readings(TorchFunctionMode):
    """A mode that reports to a tracer where Python code reads whole tensors, which is no ATen operation."""

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
    with ExitStack() as hooks:
        for name, part in module.named_modules():
            hooks.enter_context(part.register_forward_pre_hook(partial(_enter, where, name)))
            hooks.enter_context(part.register_forward_hook(partial(_leave, where), always_call=True))
        yield


def _enter(where: list[str], name: str, _module: nn.Module, _args: Any) -> None:
    where.append(name)


def _leave(where: list[str], _module: nn.Module, _args: Any, _out: Any) -> None:
    where.pop()


def _fixed(out: Any) -> Label:
    return fixed_axes(out.shape) if isinstance(out, Tensor) else []


def _place() -> str:
    """Return file and line of the innermost code that belongs neither to torch nor to this package."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(LIBRARIES):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"
