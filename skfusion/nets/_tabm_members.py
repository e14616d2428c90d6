"""What becomes of a net when its module becomes a :class:`TabM`, and of a trained TabM when it becomes k networks."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import nn

from skfusion.nets._tabm import TabM
from skfusion.nets._tabular import TabularMLP
from skfusion.nets.losses._of_members import ALONE, OF_MEMBERS
from skfusion.nets.losses._smoothed import SmoothedCrossEntropyLoss
from skfusion.state import State

_LIKELIHOODS = {
    nn.CrossEntropyLoss: "categorical",
    SmoothedCrossEntropyLoss: "categorical",
    nn.BCEWithLogitsLoss: "bernoulli",
    nn.MSELoss: "gaussian",
}


def with_members(net: Any, k: int | None = None) -> Any:
    """Return a net of which the module is a :class:`TabM` of k members, trained on the mean of their losses.

    The net keeps its settings, and the parameters of its module that a TabM has too. ``k`` is left as it is, or at its
    default, when omitted.
    """
    given = net.criterion if isinstance(net.criterion, type) else None
    alone = ALONE.get(given, given)  # type: ignore[arg-type]
    if alone not in OF_MEMBERS:
        shown = given.__name__ if given else f"an instance of {type(net.criterion).__name__}"
        raise ValueError(
            f"The members of a TabM are trained by {', '.join(c.__name__ for c in OF_MEMBERS)}, given as a class, and "
            f"the net has criterion={shown}. Give it one of these."
        )
    if isinstance(net.module, nn.Module):
        raise ValueError(
            f"The net was given a {type(net.module).__name__} that is made already, of which no TabM can be made. Give "
            "the net a module class, such as that of tabm_classifier() or tabular_classifier()."
        )
    chosen = {} if k is None else {"module__k": k}
    return _remade(net, TabM, OF_MEMBERS[alone], module__likelihood=_LIKELIHOODS[alone], **chosen)


def of_one_member(net: Any) -> Any:
    """Return the net of a member of a net of :func:`with_members`: a :class:`TabularMLP` of the same hidden sizes."""
    return _remade(net, TabularMLP, ALONE[net.criterion])


def _remade(net: Any, module: type[nn.Module], criterion: type[nn.Module], **params: Any) -> Any:
    """Return an unfitted net of another module, with those parameters of the former module that it takes."""
    taken = {f"module__{name}" for name in inspect.signature(module).parameters}
    kept = {n: v for n, v in net.get_params(deep=False).items() if not n.startswith("module__") or n in taken}
    return type(net)(**{**kept, "module": module, "criterion": criterion, **params})


def unstacked(state: State) -> list[State]:
    r"""Return the members of a :class:`TabM` as states of a :class:`TabularMLP`.

    The matrices of a member are :math:`\mathrm{diag}(s_k) W \mathrm{diag}(r_k)`. Tensors that all members have in
    common, such as embeddings, are not copied.

    Parameters
    ----------
    state : State
        Of a TabM.

    Returns
    -------
    list of State
        One a member, in order.
    """
    (n_numbers, n_bins), n_lines = state["edges"].shape, state["lines.weight"].shape[1]
    r, s = state["signs"] + state["r"], (1 + state["s"]).unsqueeze(2)
    n_categories = r.shape[1] - n_numbers
    in_lines = torch.ones(r.shape[1], dtype=torch.long)
    in_lines[n_numbers:] = (n_lines - n_numbers) // max(1, n_categories)
    own = {"lines.weight": s * state["lines.weight"] * r.repeat_interleave(in_lines, 1).unsqueeze(1)}
    own["lines.bias"] = state["bias"]
    if n_numbers:
        in_curves = r[:, :n_numbers].repeat_interleave(n_bins, 1)
        own["curves.weight"] = s * state["curves.weight"] * in_curves.unsqueeze(1)
    for name in [n.removesuffix(".weight") for n in state if n.startswith("layers.") and n.endswith(".weight")]:
        weight = state[f"{name}.weight"]
        if f"{name}.r" in state:
            weight = (1 + state[f"{name}.s"]).unsqueeze(2) * weight * (1 + state[f"{name}.r"]).unsqueeze(1)
        own |= {f"{name}.weight": weight, f"{name}.bias": state[f"{name}.bias"]}
    gone = {"signs", "r", "s", "bias", *own}
    common = {n: t for n, t in state.items() if n not in gone and n.rpartition(".")[2] not in ("r", "s")}
    return [common | {n: t[k].clone() for n, t in own.items()} for k in range(len(r))]
