"""The canonical form of a state, in which networks that compute the same differ by linear symmetries alone."""

from __future__ import annotations

from skfusion.state import State
from skfusion.symmetry._places import Draft
from skfusion.symmetry._symmetry import Symmetry


def canonicalise(state: State, symmetry: Symmetry) -> State:
    """Return the canonical form of a state: the same function, with what it has in excess of weights folded away.

    Gains and offsets of norms go into the linear layers that read them, what writes to a stream under LayerNorm is
    centred, the bias of keys is zero, that of values goes into the bias of the output, and queries and keys, values and
    outputs of each head get equal Gram matrices. Networks that differ in these alone have one canonical form, and
    linear symmetries, such as rotations of the residual stream, hold between canonical forms only.

    Parameters
    ----------
    state : State
        A state of the architecture.
    symmetry : Symmetry
        As ``symmetry_of(module, example_inputs, general=True)`` finds it. Its ``notes`` name what cannot be folded.

    Returns
    -------
    State
        In the dtypes of ``state``, which is not written. It is its own canonical form.

    Raises
    ------
    ValueError
        If the symmetry has permutations only, or a gain of zero stands before an offset that no bias can take.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from skfusion.symmetry import canonicalise
    >>> from skfusion.tracing import symmetry_of
    >>> net = nn.Sequential(nn.Linear(3, 8), nn.LayerNorm(8), nn.Linear(8, 2)).double()
    >>> _ = nn.init.normal_(net[1].weight)
    >>> x = torch.randn(4, 3, dtype=torch.float64)
    >>> state = canonicalise(net.state_dict(), symmetry_of(net, x, general=True))
    >>> state["1.weight"].tolist()
    [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    >>> expected = net(x)
    >>> _ = net.load_state_dict(state)
    >>> torch.allclose(net(x), expected)
    True
    """
    if symmetry.linear is None:
        raise ValueError(
            "The symmetry has permutations only: find it by "
            "skfusion.tracing.symmetry_of(module, example_inputs, general=True)."
        )
    draft = Draft(state)
    for fold in symmetry.linear.folds:
        fold.apply(draft)
    return draft.state()
