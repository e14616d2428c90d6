"""Git re-basin without scikit-learn: one call that aligns the units of one state with those of another."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from skfusion._batches import n_rows
from skfusion.align._base import Aligner
from skfusion.align.permutation._weight_matching import WeightMatching
from skfusion.objective import Batch, ModuleObjective
from skfusion.state import State, check_compatible
from skfusion.symmetry import Symmetry, canonicalise, reasons
from skfusion.tracing import symmetry_of


def _named(module: nn.Module, inputs: Any) -> Any:
    """Return inputs as a tensor, or by the names of the arguments of ``forward``."""
    if not isinstance(inputs, (tuple, list)):
        return inputs
    by_name = inputs[-1] if inputs and isinstance(inputs[-1], dict) else {}
    positional = inputs[:-1] if by_name else inputs
    return dict(inspect.signature(module.forward).bind(*positional, **by_name).arguments)


def rebasin(
    state_a: State,
    state_b: State,
    module: nn.Module,
    example_inputs: Any,
    align: Aligner | None = None,
    data: Iterable[Any] | None = None,
    axes: Mapping[str, Sequence[str | None]] | None = None,
) -> State:
    """Return the second state with its units in the order of the first one's, so that their weights can be averaged.

    Parameters
    ----------
    state_a : State
        The reference, whose units stay where they are.
    state_b : State
        The state to align; of the same architecture.
    module : nn.Module
        The architecture; it is not changed.
    example_inputs : Tensor, tuple or dict
        Some rows of input to trace it with.
    align : Aligner, optional
        How to match units; ``WeightMatching()`` when omitted. It must not ask for labels: call those that do, such as
        ``Annealing("loss")``, with an objective of yours. For ``TransformerMatching()``, ``state_a`` must be in its
        canonical form, see :func:`skfusion.symmetry.canonicalise`.
    data : iterable of (Tensor, tuple or dict), optional
        Batches of inputs, for aligners that compare activations; the example when omitted.
    axes : dict, optional
        A symmetry that is declared by hand; see :func:`skfusion.tracing.symmetry_of`.

    Returns
    -------
    State
        It computes what ``state_b`` computes.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from skfusion import rebasin
    >>> a, b = (nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2)).eval() for _ in range(2))
    >>> x = torch.randn(5, 3)
    >>> moved = rebasin(a.state_dict(), b.state_dict(), a, x)
    >>> expected = b(x)
    >>> _ = b.load_state_dict(moved)
    >>> torch.allclose(b(x), expected, atol=1e-6)
    True
    """
    align = WeightMatching() if align is None else align
    if not isinstance(align, Aligner):
        hint = f" Write {align.__name__}()." if isinstance(align, type) else ""
        raise TypeError(f"align must be an Aligner, such as WeightMatching(); got {align!r}.{hint}")
    symmetry = symmetry_of(module, example_inputs, axes=axes, general=align.needs_general)
    if not symmetry.groups:
        why = reasons(symmetry.notes, symmetry.pinned)
        warnings.warn(f"No units of {type(module).__name__} can change places: {why}.", stacklevel=2)
    check_compatible([state_a, state_b], ["state_a", "state_b"], any_width=align.takes_widths)
    for name in symmetry.parameters:
        symmetry.tensor(name, state_a)  # or the module is of another architecture
    inputs = [_named(module, x) for x in ([example_inputs] if data is None else data)]
    batches = [Batch(x, torch.zeros(n_rows(x))) for x in inputs]
    objective = ModuleObjective(module, lambda: batches)
    if align.needs_general and not _is_canonical(state_a, symmetry):
        raise ValueError(
            f"{align!r} aligns with the canonical form of state_a, which is another state: give "
            "skfusion.symmetry.canonicalise(state_a, symmetry), of symmetry_of(module, example_inputs, general=True), "
            "and average the result with it."
        )
    return align(state_b, state_a, symmetry, objective).apply(state_b)


def _is_canonical(state: State, symmetry: Symmetry) -> bool:
    form = canonicalise(state, symmetry)
    return all(torch.allclose(t, form[name], rtol=1e-4, atol=1e-5) for name, t in state.items())
