"""REPAIR: activations of a merged network get the spread that those of its members have (Jordan et al., 2023)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from skfusion.objective import Batch, Objective, evaluating, run
from skfusion.repair._base import Repairer
from skfusion.repair._recalibrate import Enough, Moments, Recalibrate, equal, first_batch
from skfusion.state import State, flatten

_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
_NORMS = nn.modules.batchnorm._BatchNorm
_LEAST = 1e-6


class Repair(Repairer):
    r"""Rescale and shift each layer so that its outputs have the mean and spread that they have in the members.

    Where units of the members differ, their mean varies less than they do, and less from layer to layer. For each
    channel, with the mean and spread :math:`\mu, \sigma` that it has in the merged network and the goals
    :math:`\mu^* = \sum_k w_k \mu_k` and :math:`\sigma^* = \sum_k w_k \sigma_k`,

    .. math:: W \leftarrow \frac{\sigma^*}{\sigma} W, \qquad b \leftarrow \frac{\sigma^*}{\sigma} (b - \mu) + \mu^*

    Linear and convolutional layers are repaired one after another, in the order in which they run, each behind those
    that are repaired already. A layer that runs more than once in a forward pass is judged by its first run, which is
    out of reach of its rescaling: pooled over runs that feed one another, the factor would compound. A layer without
    bias is only rescaled. Left as they are:

    - layers whose outputs, or views of them, are among what the network returns; where there are none, because a
      softmax or the like follows, the last one that runs;
    - layers with a weight or bias that is computed from other parameters, as by ``weight_norm``, ``spectral_norm`` or
      other parametrizations;
    - layers with a weight or bias that has another name too: rescaled here, it would change there.

    Networks with BatchNorm have these statistics in their buffers: for them it is :class:`Recalibrate`.

    Members count by their share in the state, by least squares, and equally where it is no sum of them.

    Notes
    -----
    One pass over the data for each of the K members, and one for each of the L layers up to there: K + L / 2 passes.
    Dropout, modes and sample weights are as in :class:`Recalibrate`. A channel without spread is left as it is, and so
    is a state that is one of the members.

    References
    ----------
    Jordan et al., "REPAIR: REnormalizing permuted activations for interpolation repair", ICLR 2023,
    arXiv:2211.08403.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from skfusion.objective import Batch, ModuleObjective
    >>> from skfusion.repair import Repair
    >>> from skfusion.state import weighted_sum
    >>> _ = torch.manual_seed(0)
    >>> net, other = (nn.Sequential(nn.Linear(20, 50), nn.ReLU(), nn.Linear(50, 1)) for _ in range(2))
    >>> x = torch.randn(1000, 20)
    >>> data = ModuleObjective(net, lambda: [Batch(x, x)])
    >>> members = [net.state_dict(), other.state_dict()]
    >>> merged = weighted_sum(members, [0.5, 0.5])
    >>> states = {"members": members[0], "merged": merged, "repaired": Repair()(merged, members, data)}
    >>> for name, state in states.items():
    ...     print(name, round((x @ state["0.weight"].T).std(0).mean().item(), 2))
    members 0.58
    merged 0.41
    repaired 0.58
    """

    needs_objective: ClassVar[bool] = True

    def __call__(self, state: State, members: Sequence[State], objective: Objective) -> State:
        """Return the state with repaired layers; see :meth:`Repairer.__call__`."""
        module = objective.module
        if any(isinstance(m, _NORMS) and m.running_mean is not None for m in module.modules()):
            return Recalibrate()(state, members, objective)
        layers: dict[str, nn.Module] = {n: m for n, m in module.named_modules() if isinstance(m, _LAYERS)}
        if not layers or not members or any(equal(state, member) for member in members):
            return state
        with evaluating(module):
            order = _to_repair(layers, state, objective)
            if not order:
                return state
            known = [_moments(objective, member, {n: layers[n] for n in order}) for member in members]
            shares = _shares(state, members)
            for name in order:
                goals = [(k[name].mean, _spread(k[name])) for k in known]
                mean, spread = (sum(w * g[i] for w, g in zip(shares, goals, strict=True)) for i in range(2))
                seen = _moments(objective, state, {name: layers[name]})[name]
                state = _rescaled(state, name, seen, mean, spread)
        return state


def _to_repair(layers: dict[str, nn.Module], state: State, objective: Objective) -> list[str]:
    """Return the layers to repair, in the order in which they first run."""
    outputs: list[tuple[str, Tensor]] = []  # all of them are kept, so no two share a place by chance
    with ExitStack() as hooks, torch.no_grad():
        for name, layer in layers.items():
            keep = layer.register_forward_hook(lambda _module, _args, out, name=name: outputs.append((name, out)))
            hooks.enter_context(keep)
        returned = run(objective.module, state, first_batch(objective).x)
    order = [*dict.fromkeys(name for name, _ in outputs)]
    places = {_place(leaf) for leaf in tree_leaves(returned) if isinstance(leaf, Tensor) and leaf.numel()}
    left = {name for name, out in outputs if _place(out) in places} or {*order[-1:]}
    n_names = Counter(id(p) for _, p in objective.module.named_parameters(remove_duplicate=False))
    left |= {name for name in order if not _owns_its_tensors(layers[name], n_names)}
    return [name for name in order if name not in left]


def _place(tensor: Tensor) -> int:
    """Return where the numbers of a tensor are stored; views of a tensor have its place."""
    try:
        return tensor.untyped_storage().data_ptr()
    except NotImplementedError as error:
        raise ValueError(
            "Repair cannot look into a module that differentiates its own layers, such as a tangent network. That one "
            "is linear in its weights, so a mean needs no repair: leave repair out."
        ) from error


def _owns_its_tensors(layer: nn.Module, n_names: Counter[int]) -> bool:
    """Return whether weight and bias of a layer are its parameters, neither computed nor named elsewhere."""
    held = layer._parameters  # what is computed is not in it, and a bias that is not there is None
    return all(key in held and (held[key] is None or n_names[id(held[key])] == 1) for key in ("weight", "bias"))


def _shares(state: State, members: Sequence[State]) -> np.ndarray:
    r"""Return the weights of :math:`\sum_k w_k \theta_k = \theta` that sum to one, or equal ones if there are none."""
    equal_ones = np.full(len(members), 1 / len(members))
    first, target, *others = (flatten(s, [*members, state]) for s in (members[0], state, *members[1:]))
    if not others:
        return equal_ones
    matrix, target = torch.stack(others, 1) - first[:, None], target - first
    shares = np.linalg.lstsq((matrix.T @ matrix).numpy(), (matrix.T @ target).numpy(), rcond=1e-10)[0]
    rest = float(torch.linalg.vector_norm(target - matrix @ torch.from_numpy(shares)))
    if rest > 1e-3 * float(torch.linalg.vector_norm(target)):
        return equal_ones
    return np.array([1 - shares.sum(), *shares])


def _moments(objective: Objective, state: State, layers: dict[str, nn.Module]) -> dict[str, Moments]:
    """Return the moments of what layers give when they first run in a forward pass, over all data."""
    moments = {name: Moments(name) for name in layers}
    due: set[str] = set()
    batch: Batch  # the one that runs

    def see(name: str, axis: int, _module: nn.Module, _args: Any, out: Tensor) -> None:
        if name in due:
            due.remove(name)
            moments[name].add(out.movedim(axis, 1) if out.dim() > 1 else out.unsqueeze(0), batch.weight)
            if not due:
                raise Enough

    with ExitStack() as hooks, torch.no_grad():
        for name, layer in layers.items():
            axis = -1 if isinstance(layer, nn.Linear) else -len(layer.kernel_size) - 1  # type: ignore[arg-type]
            hooks.enter_context(layer.register_forward_hook(partial(see, name, axis)))
        for batch in objective.batches():
            due.update(layers)
            with suppress(Enough):
                objective.forward(state, batch.x)
    if not all(of_layer.weight for of_layer in moments.values()):
        raise ValueError("Repairing statistics needs rows of positive weight; the objective has none.")
    return moments


def _rescaled(state: State, name: str, seen: Moments, mean: Tensor, spread: Tensor) -> State:
    """Return the state with one layer rescaled and shifted to its goals."""
    weight, now = state[f"{name}.weight"], _spread(seen)
    flat = now <= _LEAST * spread  # a channel that does not vary cannot be made to
    scale = torch.where(flat, 1.0, spread / now)
    new = dict(state)
    new[f"{name}.weight"] = (weight.double() * scale.view(-1, *[1] * (weight.dim() - 1))).to(weight.dtype)
    bias = state.get(f"{name}.bias")
    if bias is not None:
        moved = scale * (bias.double() - seen.mean) + mean
        new[f"{name}.bias"] = torch.where(flat, bias.double(), moved).to(bias.dtype)
    return new


def _spread(moments: Moments) -> Tensor:
    return (moments.square / moments.weight).sqrt()
