"""Trace a module: run a copy of it on an example, and keep the labels of its weights.

It runs in eval mode, and in train mode as well where that leaves parameters unused, as auxiliary heads are.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils._pytree import tree_flatten

from skfusion._numbers import place_of
from skfusion.symmetry import OF_OUTPUT, Site
from skfusion.tracing._call import Labels, Origin
from skfusion.tracing._run import Inputs, copied, keeps_statistics, run, shapes_of, tensors_in, twin
from skfusion.tracing._tracer import Readings, Tracer, named_modules
from skfusion.tracing._uses import Uses
from skfusion.tracing.algebra import Engine, Label, fixed_axes


@dataclass(eq=False)
class Weight:
    """A parameter or buffer, with all of its names and the atoms that its axes had before the run."""

    tensors: list[Tensor]
    names: list[str]
    label: Label
    atoms: list[int | None]
    is_parameter: bool
    is_statistic: bool


@dataclass(eq=False)
class Trace:
    """What was observed while a module ran."""

    engine: Engine
    weights: list[Weight]
    """Parameters, then buffers."""
    sites: list[tuple[Site, Label]] = field(default_factory=list)
    """Activations in eval mode, whose axes follow from their labels."""
    notes: list[str] = field(default_factory=list)
    branches: list[str] = field(default_factory=list)
    """Lines of code that depend on data."""
    trained: bool = False
    """Whether the module ran in train mode as well."""
    roles: list[tuple[str | None, ...]] = field(default_factory=list)
    """What the units are on each axis of each weight; None where no operation said it."""


def trace(module: nn.Module, inputs: Inputs) -> Trace:
    """Return the labels of all weights of a module, after a run of a copy of it on an example."""
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        if is_lazy(tensor):
            raise ValueError(
                f"Tensor {name!r} of a lazy module has no shape yet: run one batch through the module first."
            )
    originals = {id(t) for t in (*module.parameters(), *module.buffers())}
    module = twin(module)
    engine = Engine()
    labels = Labels(engine)
    out = Trace(engine, weights_of(module, labels))
    uses = Uses([weight.tensors for weight in out.weights])
    used: set[int] = set()
    try:
        tracer = _watch(module, inputs, labels, uses, train=False)
    except Exception as error:
        raise ValueError(
            f"{type(module).__name__} could not run on example_inputs ({shapes_of(inputs)}): "
            f"{str(error).rstrip('. ')}. Give a batch as the module takes it: a tensor, a tuple of "
            "positional arguments, or a dict of named ones."
        ) from error
    out.sites, used = tracer.sites, used | tracer.used
    out.branches = [*tracer.branches]
    if _unused(out, used):  # a second run costs as much as the first, and only such parts need it
        try:
            tracer = _watch(module, inputs, labels, uses, train=True)
            out.trained, used = True, used | tracer.used
            out.branches = [*dict.fromkeys([*out.branches, *tracer.branches])]
        except Exception as error:
            out.notes.append(f"the module could not run in train mode on the example: {error}")
    if used & originals:
        raise TypeError(
            f"A copy of {type(module).__name__} runs weights of the original, as where a function that was set as its "
            "forward, or a hook, holds the module itself. Only copies are run, so that yours stays as it is: let such "
            "functions take the module as an argument, as methods do."
        )
    _pin_unused(out, used)
    branches = [f"the path depends on data at {place}; only the one of the example was read" for place in out.branches]
    out.notes = [*engine.notes, *branches, *out.notes]
    out.roles = [uses.roles(k) for k in range(len(out.weights))]
    return out


def weights_of(module: nn.Module, labels: Labels) -> list[Weight]:
    """Label parameters and the buffers that a member has of its own with fresh atoms, and pin all other buffers.

    Other buffers, such as masks of attention and position codes, are constants: the architecture has them as they are.
    """
    weights: dict[object, Weight] = {}
    statistics = {id(b) for part in module.modules() for b in _own_buffers(part)}
    named: list[tuple[str, Tensor, bool]] = [(n, t, True) for n, t in module.named_parameters(remove_duplicate=False)]
    named += [(n, t, False) for n, t in module.named_buffers(remove_duplicate=False)]
    for name, tensor, is_parameter in named:
        key = place_of(tensor) if tensor.numel() else id(tensor)
        if key not in weights:
            moves = is_parameter or id(tensor) in statistics
            label = [labels.engine.fresh(n) for n in tensor.shape] if moves else fixed_axes(tensor.shape)
            atoms = [axis.atoms[0] if axis.atoms else None for axis in label]
            weights[key] = Weight([], [], label, atoms, is_parameter, id(tensor) in statistics)
            labels.give(tensor, label, Origin.WEIGHTS if moves else Origin.CONSTANT)
        elif not any(tensor is t for t in weights[key].tensors):
            labels.put(tensor, weights[key].label, Origin.WEIGHTS)
        weights[key].tensors.append(tensor)
        weights[key].names.append(name)
    return list(weights.values())


def _own_buffers(part: nn.Module) -> list[Tensor]:
    """Return buffers of a module that sit on its units: statistics, frozen ones too, and masks of pruned weights."""
    if keeps_statistics(part):
        return [*part.buffers(recurse=False)]
    parameters = dict(part.named_parameters(recurse=False))
    return [b for n, b in part.named_buffers(recurse=False) if n.removesuffix("_mask") + "_orig" in parameters]


def _watch(module: nn.Module, inputs: Inputs, labels: Labels, uses: Uses, train: bool) -> Tracer:
    """Run a module once, and pin its inputs and outputs."""
    tracer, inputs = Tracer(labels, uses), copied(inputs)
    for tensor in (t for t in tree_flatten(inputs)[0] if isinstance(t, Tensor)):
        labels.put(tensor, fixed_axes(tensor.shape), Origin.INPUTS)
    out = run(module, inputs, train, [named_modules(module, tracer.where), Readings(tracer), tracer])
    labels.engine.operation = labels.engine.where = ""
    results = tensors_in(out)
    if not results:
        raise ValueError(f"its output, of type {type(out).__name__}, holds no tensor.")
    for tensor in results:
        labels.use(tensor)
        labels.engine.pin_axes(labels.of(tensor), OF_OUTPUT)
    return tracer


def _unused(trace: Trace, used: set[int]) -> list[Weight]:
    return [w for w in trace.weights if w.is_parameter and not any(id(t) in used for t in w.tensors)]


def _pin_unused(trace: Trace, used: set[int]) -> None:
    for weight in trace.weights:
        if not any(id(t) in used for t in weight.tensors):  # nothing was observed that a move would have to respect
            trace.engine.pin_axes(weight.label, "not used in the run on the example")
    names = [w.names[0] for w in _unused(trace, used)]
    if names:
        shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        trace.notes.append(f"not used in the run on the example, so pinned: {shown}")
