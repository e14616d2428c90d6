"""Checks of vectorized training: which nets it supports, and that each member gets what it would get alone.

Nets and callbacks that it does not support are trained one by one in skorch's own loop. Of the others the first batch
is computed for one member alone, too. User callbacks may change what members must share: it is checked at each epoch.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from skorch import callbacks as known
from skorch.callbacks import Callback
from torch import Tensor, nn
from torch.autograd.function import BackwardCFunction
from torch.nn.modules.dropout import _DropoutNd

from skfusion._vectorized import (
    Members,
    NotVectorizableError,
    VectorizedModules,
    attributes,
    described,
    difference,
    lent,
    member_of,
    member_optimizer,
)
from skfusion.nets._tabular import CosineAnnealing
from skfusion.nets._training_callback import Run, Watch
from skfusion.nets.vectorized._draws import fast_and_without_draws, is_only_thread

_NOT_OVERRIDDEN = (
    *("fit_loop", "run_single_epoch", "train_step", "train_step_single", "validation_step", "notify", "infer"),
    *("get_train_step_accumulator", "on_batch_begin", "on_batch_end", "on_grad_computed", "get_loss"),
    *("get_dataset", "get_iterator"),
)
"""Methods that vectorized training does without, or calls once for all members; those of whole epochs are free."""

_OF_EACH_MEMBER = {"lr", "optimizer", "module", "callbacks", "iterator_train", "iterator_valid", "train_split"}
"""Parameters of a net that are read for each member; the others are read of the first one."""

_KNOWN_CALLBACKS = (
    *(Watch, known.EpochTimer, known.PrintLog, known.PassthroughScoring, known.EpochScoring, known.EarlyStopping),
    *(known.LRScheduler, known.GradientNormClipping, CosineAnnealing),
)

Computed = tuple[Tensor, Any]
"""Loss of each member, and the gradients, as a matrix or in parts."""


def check_params(runs: Sequence[Run]) -> None:
    """Raise where runs differ in a parameter of the net that is read of the first member only."""
    shared = [{k: v for k, v in run.params.items() if k.partition("__")[0] not in _OF_EACH_MEMBER} for run in runs]
    first = described(shared[0])
    for other in shared[1:]:
        if (name := difference(first, described(other))) is not None:
            raise NotVectorizableError(f"its members differ in the parameter {name!r}")


def check_net(net: Any) -> None:
    """Raise where an initialised net does what vectorized training cannot do; the error names it."""
    name = type(net).__name__
    for method in _NOT_OVERRIDDEN:
        if not getattr(type(net), method).__module__.startswith("skorch"):
            raise NotVectorizableError(f"{name} overrides {method}")
    if getattr(net, "compile", False) or hasattr(net.module_, "_orig_mod"):
        raise NotVectorizableError("its module is compiled")
    for kind, parts in (("modules", net._modules), ("criteria", net._criteria), ("optimizers", net._optimizers)):
        if len(parts) != 1:
            raise NotVectorizableError(f"{name} has {len(parts)} {kind}")
    if isinstance(net.criterion_, nn.Module) and any(True for _ in net.criterion_.parameters()):
        raise NotVectorizableError("its criterion has parameters")
    for module in net.module_.modules():
        if isinstance(module, nn.RNNBase):
            raise NotVectorizableError(f"torch has no kernel for many {type(module).__name__} layers")
        if isinstance(module, torch.jit.ScriptModule):
            raise NotVectorizableError("its module is a TorchScript one")
        norm = isinstance(module, nn.modules.batchnorm._BatchNorm)
        if norm and module.track_running_stats and module.momentum is None:
            raise NotVectorizableError(f"{type(module).__name__}(momentum=None) reads its counter as a number")
    check_optimizer(net)


def check_optimizer(net: Any) -> None:
    """Raise where the optimiser cannot be vectorized, or leaves trained parameters out."""
    member_optimizer([net.optimizer_])
    stepped = {id(p) for group in net.optimizer_.param_groups for p in group["params"]}
    if any(p.requires_grad and id(p) not in stepped for p in net.module_.parameters()):
        raise NotVectorizableError("its optimiser steps only some of the trained parameters")


def check_callbacks(net: Any) -> None:
    """Raise where a callback acts on single batches, or on files that members would share."""
    for _, callback in net.callbacks_:
        kind = type(callback)
        if kind in _KNOWN_CALLBACKS:
            caching = getattr(callback, "use_caching", False) if net.use_caching == "auto" else net.use_caching
            if isinstance(callback, known.EpochScoring) and callback.on_train and caching:
                raise NotVectorizableError("EpochScoring(on_train=True) keeps the outputs of every batch")
            continue
        if kind.__module__.startswith("skorch"):
            raise NotVectorizableError(f"the callback {kind.__name__} is only known to skorch's own loop")
        for hook in ("on_batch_begin", "on_batch_end", "on_grad_computed"):
            if getattr(kind, hook) is not getattr(Callback, hook):
                raise NotVectorizableError(f"the callback {kind.__name__} acts in {hook}")


def has_user_callback(net: Any) -> bool:
    """Return whether a callback has code that is not skorch's, so that it might do anything between epochs."""
    kinds = (type(c) not in _KNOWN_CALLBACKS or callable(getattr(c, "scoring", None)) for _, c in net.callbacks_)
    return any(kinds)


class WithheldState(dict[Any, Any]):
    """Stands for the state of a member's optimiser, which is kept for all members together: whoever reads it fails."""

    def _refuse(self, *_: Any, **__: Any) -> Any:
        raise NotVectorizableError("one of its callbacks looks at the state of the optimiser")

    __getitem__ = __setitem__ = __delitem__ = __contains__ = __iter__ = __len__ = __eq__ = __reduce_ex__ = _refuse
    get = items = keys = values = pop = popitem = setdefault = update = clear = copy = _refuse
    __hash__ = None  # type: ignore[assignment]


def check_first_batch(
    vectorized: VectorizedModules, members: Sequence[Any], batch: Any, compute: Callable[[], Computed]
) -> Computed:
    """Return what ``compute`` gives for the first batch of all members, after a comparison with one member alone.

    :class:`NotVectorizableError` is raised where loss, gradients or buffers differ, or might differ unseen.
    """
    dropout = _dropout_switches(members[0])
    before = {name: t.clone() for name, t in vectorized.held.items()} if dropout else {}
    for owner, name, value in dropout:
        setattr(owner, name, type(value)(0))
    computed = _compare(vectorized, members, batch, compute)
    if not dropout:
        return computed
    for owner, name, value in dropout:
        setattr(owner, name, value)
    for name, t in before.items():
        vectorized.held[name].copy_(t)
    return compute()


def _dropout_switches(member: Any) -> list[tuple[nn.Module, str, Any]]:
    """Return the attributes that make dropout draw, where a member alone draws other masks: off the CPU."""
    if member.mask_generator is member.generator:
        return []
    modules = [*member.net.module_.modules()]
    layers = [(m, "training", m.training) for m in modules if isinstance(m, _DropoutNd)]
    return layers + [(m, "dropout", m.dropout) for m in modules if isinstance(m, nn.MultiheadAttention)]


def _compare(
    vectorized: VectorizedModules, members: Sequence[Any], batch: Any, compute: Callable[[], Computed]
) -> Computed:
    net, module = members[0].net, members[0].net.module_
    name = type(module).__name__
    of_module, of_criterion = attributes(module), members[0].criterion_attributes()
    python_before = random.getstate()
    k, loss_alone, grads_alone, buffers_alone = _alone(vectorized, members, batch)
    drawn_alone = random.getstate() != python_before
    if (changed := difference(of_module, attributes(module))) is not None:
        raise NotVectorizableError(f"{name} changes its attribute {changed!r} in its forward pass")
    if (changed := difference(of_criterion, members[0].criterion_attributes())) is not None:
        raise NotVectorizableError(f"the attribute {changed!r} of {type(net).__name__} changes with its loss")
    with fast_and_without_draws(name, drawn_alone or is_only_thread()):
        loss, grad = compute()
    exact = vectorized.theta.dtype in (torch.float32, torch.float64)
    # A gradient is compared by its own size, or by a share of the largest one where it is rounding alone.
    tolerance, floor = (1e-2, 1e-3) if exact else (0.2, 0.1)
    largest = max(_size(g) for g in grads_alone if g is not None)
    pairs = [(loss_alone, loss[k], _size(loss_alone) + 1e-3)]
    for a, b in zip(grads_alone, _of_member(vectorized, grad, k), strict=True):
        alone = torch.zeros_like(b) if a is None else a
        pairs.append((alone, b, max(_size(alone), floor * largest)))
    after = {key: t.value if isinstance(t, Members) else t for key, t in module.named_buffers()}
    pairs += [(t, after[key][k], _size(t) + 1e-6) for key, t in buffers_alone.items()]
    for a, b, size in pairs:
        if not float((a.detach().double() - b.detach().double()).abs().amax() if a.numel() else 0) <= tolerance * size:
            raise NotVectorizableError(f"{name} gives other gradients when it is vectorized than alone")
    return loss, grad


def _of_member(vectorized: VectorizedModules, grad: Any, k: int) -> Iterable[Tensor]:
    """Return the gradients of one member, one for each trained parameter."""
    return vectorized.by_name(grad[k]).values() if isinstance(grad, Tensor) else [part[k] for _, part in grad]


def _alone(
    vectorized: VectorizedModules, members: Sequence[Any], batch: Any
) -> tuple[int, Tensor, Sequence[Any], dict[str, Tensor]]:
    """Compute the first batch of one member alone: of the first one in which all numbers are finite.

    Returns its place, its loss, its gradients, and its buffers after the forward pass.
    """
    net = members[0].net
    module = net.module_
    for k, member in enumerate(members):
        tensors = {key: t[k].clone() for key, t in (*vectorized.leaves.items(), *vectorized.held.items())}
        leaves = [tensors[key].requires_grad_() for key in vectorized.leaves]
        with lent(module, tensors), member.drawing(keep=False):
            x, y, weight = (member_of(part, k) for part in batch)
            members[0].weigh(weight)
            loss = net.get_loss(net.infer(x), y, X=x, training=True)
            buffers = {key: t.detach() for key, t in module.named_buffers()}
            if made := [key for key in buffers if key not in vectorized.held]:
                raise NotVectorizableError(f"it makes its buffer {made[0]!r} in its forward pass")
            _check_graph(loss)
            grads = torch.autograd.grad(loss, leaves, allow_unused=True)
        if all(bool(t.isfinite().all()) for t in (loss, *(g for g in grads if g is not None))):
            return k, loss, grads, buffers
    raise NotVectorizableError("no member has a finite loss and finite gradients in its first batch")


def _check_graph(loss: Tensor) -> None:
    """Raise where a gradient is written in Python: it would not be called for many members."""
    seen, rest = set(), [loss.grad_fn]
    while rest:
        node = rest.pop()
        if node is None or node in seen:
            continue
        if isinstance(node, BackwardCFunction):
            raise NotVectorizableError(
                f"{node.name().removesuffix('Backward')} has a gradient that is written in Python"
            )
        seen.add(node)
        rest += [following for following, _ in node.next_functions]


def _size(t: Tensor) -> float:
    return float(t.detach().abs().max()) if t.numel() else 0.0


def check_same_setup(vectorized: VectorizedModules, members: Sequence[Any]) -> None:
    """Raise where callbacks have changed tensors, optimisers, or attributes that members must share."""
    check_intact(vectorized, members)
    first: dict[str, Any] = {}
    for member in members:
        if member.net.optimizer_ is not member.optimizer:
            raise NotVectorizableError("one of its callbacks replaced the optimiser")
        check_optimizer(member.net)
        now = {**attributes(member.net.module_), **member.criterion_attributes()}
        now = {name: value for name, value in now.items() if name.rpartition(".")[2] != "training"}  # set by epochs
        first = first or now
        if (name := difference(first, now)) is not None:
            raise NotVectorizableError(f"one of its callbacks gives each member another {name!r}")


def check_intact(vectorized: VectorizedModules, members: Sequence[Any]) -> None:
    """Raise where callbacks have replaced modules or parameters, or changed which of them are trained."""
    replaced = any(m.net.module_ is not module for m, module in zip(members, vectorized.modules, strict=True))
    if replaced or not vectorized.intact():
        raise NotVectorizableError("one of its callbacks replaced or froze parameters")


def hand_out(grad: Any, vectorized: VectorizedModules, parameters: Sequence[dict[str, nn.Parameter]]) -> None:
    """Give each member's parameters their gradients of the last batch, which callbacks may look at."""
    for k, of_member in enumerate(parameters):
        for name, part in zip(vectorized.trained, _of_member(vectorized, grad, k), strict=True):
            of_member[name].grad = part.clone()


def reason(error: BaseException) -> str:
    """Return why vectorized training has failed, as half a sentence that names the innermost module or callback."""
    name, trace = "its forward pass", error.__traceback__
    while trace is not None:
        owner = trace.tb_frame.f_locals.get("self")
        name = type(owner).__name__ if isinstance(owner, (nn.Module, Callback)) else name
        trace = trace.tb_next
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return f"{name} cannot be computed for many members: {first.partition('. Please file')[0]}"
