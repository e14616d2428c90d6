"""Merge what networks with different heads share."""

from __future__ import annotations

from collections.abc import Sequence

from skfusion.merge._base import Merger
from skfusion.objective import Objective, Wrapper
from skfusion.state import Fused, State


def shared_names(states: Sequence[State], base: State | None = None, heads: Sequence[str] = ()) -> list[str]:
    """Return the names of the tensors that are merged: all but those of heads.

    A tensor belongs to a head where it is missing in a member, or in the base, or has another shape there, or where
    its name starts with one of ``heads``.

    Parameters
    ----------
    states : sequence of State
        K states.
    base : State, optional
        The common starting point of the members.
    heads : sequence of str, optional
        Beginnings of names, as far as a dot or the end: ``"head"`` means ``head.weight``, not ``header.weight``.

    Returns
    -------
    list of str
        Names in the order of the first state.

    Examples
    --------
    >>> import torch
    >>> from skfusion.merge import shared_names
    >>> a = {"body": torch.zeros(4), "head": torch.zeros(2)}
    >>> b = {"body": torch.ones(4), "head": torch.ones(3)}
    >>> shared_names([a, b])
    ['body']
    """
    if not states:
        raise ValueError("No states to merge: the pool is empty. Give at least one member.")
    first, *others = [*states] if base is None else [*states, base]
    if unknown := [head for head in heads if not any(f"{n}.".startswith(f"{head}.") for s in states for n in s)]:
        raise ValueError(f"No tensor belongs to the head {unknown[0]!r}; names start like {[*first][:3]}.")
    in_all = [n for n, t in first.items() if all(n in s and s[n].shape == t.shape for s in others)]
    return [name for name in in_all if not f"{name}.".startswith(tuple(f"{head}." for head in heads))]


def merge_shared(
    merge: Merger,
    states: Sequence[State],
    base: State | None = None,
    objective: Objective | None = None,
    heads: Sequence[str] = (),
) -> list[State]:
    """Merge networks of several tasks up to their heads, which each of them keeps.

    Parameters
    ----------
    merge : Merger
        How to merge the tensors that all share; see :func:`shared_names` for which these are.
    states : sequence of State
        K states of networks with one body.
    base : State, optional
        The common starting point of the members.
    objective : Objective, optional
        Data, with the rows of each task in ``member_batches``. The module is run with each member's head in turn.
        Mergers that judge networks by their loss or score cannot judge a body that has several heads.
    heads : sequence of str, optional
        Beginnings of the names of further tensors that are not merged.

    Returns
    -------
    list of State
        K states: the merged body, which they share in memory, with the head of each member.

    Raises
    ------
    ValueError
        If nothing is shared, or the merger asks for the loss or the score of a body that has several heads.

    References
    ----------
    Matena and Raffel, "Merging models with Fisher-weighted averaging", NeurIPS 2022, arXiv:2111.09832, section 3.

    Examples
    --------
    >>> import torch
    >>> from skfusion.merge import Uniform, merge_shared
    >>> a = {"body": torch.zeros(4), "head": torch.zeros(2)}
    >>> b = {"body": torch.ones(4), "head": torch.ones(3)}
    >>> merged = merge_shared(Uniform(), [a, b])
    >>> [(state["body"][0].item(), len(state["head"])) for state in merged]
    [(0.5, 2), (0.5, 3)]
    """
    names = shared_names(states, base, heads)
    if not names:
        raise ValueError(
            f"The {len(states)} members share no tensor by name and shape, so there is nothing to merge: they are of "
            "different architectures. Combine their predictions instead."
        )
    kept = [{name: t for name, t in state.items() if name not in names} for state in states]
    bodies = [{name: state[name] for name in names} for state in states]
    if objective is not None and any(kept):
        objective = WithHeads(objective, kept)
    body = merge(bodies, None if base is None else {name: base[name] for name in names}, objective)
    if isinstance(body, Fused):
        raise TypeError(f"{merge!r} changes the architecture, so that no head fits its result: merge whole networks.")
    return [{name: body[name] if name in body else t.clone() for name, t in state.items()} for state in states]


class WithHeads(Wrapper):
    """An objective of networks with one body and different heads, which complete the states.

    One head is run in the place of the tensors that a state has; of several, only that of a member can be, see
    :meth:`of_member`.
    """

    def __init__(self, objective: Objective, heads: Sequence[State]):
        super().__init__(objective)
        self.heads = tuple(heads)
        self.of_output = None  # points of a subspace lack the head

    def whole(self, state: State) -> State:
        if len(self.heads) > 1:
            raise ValueError(
                f"There are {len(self.heads)} heads, one a member, and which one to run is unknown. Mergers that judge "
                "networks by their loss or score cannot judge a body that has several heads: choose their parameters "
                "yourself, as in TaskArithmetic(scale=0.3), or merge with Uniform, TIES, Fisher, RegMean or "
                "AdaMerging. For the view of one member, ask of_member(k)."
            )
        return self.objective.whole({**state, **self.heads[0]})

    def of_member(self, k: int) -> Objective:
        return WithHeads(self.objective.of_member(k), self.heads[k : k + 1])
