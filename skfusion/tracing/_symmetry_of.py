"""Find the permutation symmetries of a module."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from skfusion.symmetry import Symmetry
from skfusion.tracing._assemble import assemble
from skfusion.tracing._call import tensors_among
from skfusion.tracing._general import generalised
from skfusion.tracing._proof import check_repeats, probed, prove
from skfusion.tracing._run import Inputs, arguments_of, shapes_of, tensors_of
from skfusion.tracing._trace import trace

Example = Tensor | tuple[Any, ...] | list[Any] | dict[str, Any]


def symmetry_of(
    module: nn.Module,
    example_inputs: Example,
    *,
    axes: Mapping[str, Sequence[str | None]] | None = None,
    general: bool = False,
    verify: bool = True,
    tolerance: float | None = None,
    random_state: int = 0,
) -> Symmetry:
    r"""Find the permutation symmetries of a module: which units can change places without a change of its outputs.

    The module runs once. All axes of its weights start with units that may move, and every operation says which of them
    must move together, so that :math:`f(x; \pi\theta) = f(x; \theta)`; inputs and outputs stay where they are. Units
    that move in blocks are found with their structure, such as channels within attention heads. What cannot be followed
    is pinned: it does not move.

    Parameters
    ----------
    module : nn.Module
        Any module that runs. Only copies of it run, so hooks that a run installs, or other changes, do not reach it.
        The random generators of torch, numpy and Python are left as they were, too.
    example_inputs : Tensor, tuple, list or dict
        One batch: a tensor for ``module(x)``, a tuple or list for ``module(*x)``, in which a dict that comes last holds
        arguments by name, or a dict for ``module(**x)``.
    axes : dict of sequence of (str or None), optional
        A symmetry that is declared by hand, as for :meth:`Symmetry.of_axes`; it is only verified.
    general : bool, default=False
        Whether to look for symmetries beyond permutations, too: signs, scales, rotations of a residual stream,
        invertible maps within attention heads. They are tried in float64, and hold between canonical states; see
        :func:`skfusion.symmetry.canonicalise`. It costs a few backward passes, and some passes for each group.
    verify : bool, default=True
        Whether to apply two random elements to copies of the module, in float64 and with perturbed weights, and to
        freeze groups that change an output.
    tolerance : float, optional
        Largest difference of outputs, relative to the largest number of each. By default 1e-9, or 1e-4 where
        the module computes in a narrower type than float64.
    random_state : int, default=0
        Seed of the random elements.

    Returns
    -------
    Symmetry
        Groups of units, and where they are in each parameter and buffer. Its ``notes`` name operations that could not
        be followed, weights that are not used, and code whose path depends on data.

    Raises
    ------
    ValueError
        If the module does not run on the example, has weights without shapes, returns NaN or infinity, or is random
        itself, such as by its own generator, so that nothing can be verified.
    TypeError
        If the module cannot be copied, or a copy runs the weights of the original.

    Notes
    -----
    About one forward pass on a copy of the module, and work in proportion to the number of operations and units;
    verification costs three more passes in float64. If some parameters are not used in eval mode, such as auxiliary
    heads, the module runs in train mode too, without dropout. A path that depends on data is followed as the example
    takes it, with a warning.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from skfusion.tracing import symmetry_of
    >>> net = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> symmetry = symmetry_of(net, torch.ones(4, 3))
    >>> {name: group.size for name, group in symmetry.groups.items()}
    {'0.weight:0': 8}
    """
    inputs = arguments_of(example_inputs)
    if any(t.dim() and not len(t) for t in tensors_among(inputs)):
        raise ValueError(f"example_inputs ({shapes_of(inputs)}) has no rows: give at least one.")
    if axes is not None:
        symmetry = Symmetry.of_axes(axes, tensors_of(module, None))
        symmetry = prove(symmetry, module, inputs, False, tolerance, random_state) if verify else symmetry
        return _general(symmetry, module, inputs, tolerance, random_state) if general else symmetry
    traced = trace(module, inputs)
    if traced.branches:
        warnings.warn(
            f"The path through {type(module).__name__} depends on data, at {', '.join(traced.branches)}: only the one "
            "that the example takes was read. If others use weights in another way, declare the symmetry by hand, with "
            "axes=.",
            stacklevel=2,
        )
    symmetry, trained = assemble(traced), traced.trained
    del traced  # which frees the copy that ran
    symmetry = prove(symmetry, module, inputs, trained, tolerance, random_state) if verify else symmetry
    return _general(symmetry, module, inputs, tolerance, random_state) if general else symmetry


def _general(symmetry: Symmetry, module: nn.Module, inputs: Inputs, tolerance: float | None, seed: int) -> Symmetry:
    probe, _ = probed(module, inputs, tolerance, seed)
    check_repeats(probe)
    return generalised(symmetry, probe, seed)
