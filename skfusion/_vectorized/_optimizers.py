"""Optimisers (SGD with momentum, Adam, AdamW) that step many members at once, and clipping of their gradients.

The formulas are those of ``torch.optim``; a setting is a number where members share it, and a column of shape
(n_members, 1) where they do not.

References
----------
Kingma and Ba, "Adam: a method for stochastic optimization", ICLR 2015, arXiv:1412.6980. Loshchilov and Hutter,
"Decoupled weight decay regularization", ICLR 2019, arXiv:1711.05101. Sutskever et al., "On the importance of
initialization and momentum in deep learning", ICML 2013.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from skfusion._vectorized._members import NotVectorizableError

Setting = float | Tensor
Part = tuple[slice, Tensor]
"""Columns, and the gradients of these, shape (n_members, ...)."""

_PIECE = 2**22
"""Numbers that are stepped at a time, which bounds the memory of a copy."""

_VECTOR = 64
"""Bytes that the widest instructions of a processor compute with."""


class MemberOptimizer(ABC):
    """Step the rows of a matrix ``theta``, shape (n_members, n_parameters), in place."""

    n_buffers: ClassVar[int]
    """Matrices of the shape of ``theta`` that it keeps, at most."""

    def __init__(self, theta: Tensor):
        self.theta, self.steps = theta, 0
        self.buffers = [torch.zeros_like(theta) for _ in range(self.n_buffers)]

    def step(self, grad: Tensor | Iterable[Part], **settings: Any) -> None:
        """Step once by gradients, of the shape of ``theta``, or pairs of columns and their gradients.

        Gradients may be written to. Settings are those that :func:`current_settings` returns.
        """
        self.steps += 1
        settings = self._begun(settings)
        if isinstance(grad, Tensor) and grad.numel() <= _PIECE:
            self._step(self.theta, self.buffers, grad, **settings)
            return
        for columns, part in [(slice(None), grad)] if isinstance(grad, Tensor) else grad:
            n_rows = max(1, _PIECE // part[0].numel())
            for start in range(0, len(part), n_rows):
                rows = slice(start, start + n_rows)
                of_rows = {k: v[rows] if isinstance(v, Tensor) else v for k, v in settings.items()}
                buffers = [b[rows, columns] for b in self.buffers]
                self._step(self.theta[rows, columns], buffers, part[rows].flatten(1), **of_rows)

    def _begun(self, settings: dict[str, Any]) -> dict[str, Any]:
        """Return the settings of the step that begins, which may depend on earlier ones."""
        return settings

    @abstractmethod
    def _step(self, theta: Tensor, buffers: Sequence[Tensor], grad: Tensor, **settings: Any) -> None:
        """Step some rows and columns; ``grad`` is a matrix and may be written to."""

    def keep(self, theta: Tensor, members: Sequence[int]) -> None:
        """Go on with the members at some rows; ``theta`` has their parameters, and a spare row if one is left."""
        index = _rows_of(theta, members)
        self.theta, self.buffers = theta, [b[index] for b in self.buffers]


class MemberSGD(MemberOptimizer):
    r"""Stochastic gradient descent, with momentum.

    It computes :math:`b \leftarrow \mu b + (1 - \tau) g` and :math:`\theta \leftarrow \theta - \eta b`, or Nesterov's
    :math:`\theta \leftarrow \theta - \eta (g + \mu b)`.
    """

    n_buffers: ClassVar[int] = 1
    _moved: Setting = 0.0
    """Which members have had a step with momentum: 1, or 0."""

    def _begun(self, settings: dict[str, Any]) -> dict[str, Any]:
        """Take dampening out of each member's first step with momentum, as torch does."""
        momentum, before = settings.get("momentum", 0.0), self._moved
        if isinstance(momentum, Tensor):
            self._moved = (momentum != 0).double().clamp(min=before)
        elif momentum:
            self._moved = 1.0
        return {**settings, "dampening": settings.get("dampening", 0.0) * before}

    def keep(self, theta: Tensor, members: Sequence[int]) -> None:
        super().keep(theta, members)
        if isinstance(self._moved, Tensor):
            self._moved = self._moved[_rows_of(theta, members)]

    def _step(
        self,
        theta: Tensor,
        buffers: Sequence[Tensor],
        grad: Tensor,
        lr: Setting = 0.0,
        momentum: Setting = 0.0,
        dampening: Setting = 0.0,
        weight_decay: Setting = 0.0,
        nesterov: bool = False,
        **_: Any,
    ) -> None:
        if isinstance(weight_decay, Tensor) or weight_decay:
            _add(grad, theta, weight_decay)
        (buffer,) = buffers
        if isinstance(momentum, Tensor) and not momentum.all():  # those without momentum keep their buffer as it is
            moves = momentum != 0
            _add(buffer.mul_(_in(buffer, momentum.where(moves, 1.0))), grad, (1 - dampening) * moves)
            grad = _add(grad, buffer, momentum) if nesterov else torch.where(moves, buffer, grad)
        elif isinstance(momentum, Tensor) or momentum:
            _add(buffer.mul_(_in(buffer, momentum)), grad, 1 - dampening)
            grad = _add(grad, buffer, momentum) if nesterov else buffer
        _add(theta, grad, -lr)


class MemberAdam(MemberOptimizer):
    r"""Adam, and AdamW where ``decoupled``.

    It computes :math:`\theta \leftarrow \theta - \eta \hat m / (\sqrt{\hat v} + \epsilon)` with the corrected moments
    :math:`\hat m = m / (1 - \beta_1^t)` and :math:`\hat v = v / (1 - \beta_2^t)`.
    """

    n_buffers: ClassVar[int] = 2

    def _step(
        self,
        theta: Tensor,
        buffers: Sequence[Tensor],
        grad: Tensor,
        lr: Setting = 0.0,
        beta1: Setting = 0.9,
        beta2: Setting = 0.999,
        eps: Setting = 1e-8,
        weight_decay: Setting = 0.0,
        decoupled: bool = False,
        **_: Any,
    ) -> None:
        first, second = buffers
        if _fusible(theta, grad):
            self._step_fused([theta, grad, *buffers], [lr, beta1, beta2, eps, weight_decay], decoupled)
            return
        if isinstance(weight_decay, Tensor) or weight_decay:
            if decoupled:
                theta.mul_(_in(grad, 1 - lr * weight_decay))
            else:
                _add(grad, theta, weight_decay)
        first.lerp_(grad, _in(grad, 1 - beta1))
        second.mul_(_in(grad, beta2))
        if isinstance(beta2, Tensor):
            second.addcmul_(grad * _in(grad, 1 - beta2), grad)
        else:
            second.addcmul_(grad, grad, value=1 - beta2)
        root = (1 - beta2**self.steps) ** 0.5  # taken out of the fraction, which spares a pass over the matrix
        size = torch.sqrt(second, out=grad).add_(_in(grad, eps * root))
        rate = lr * root / (1 - beta1**self.steps)
        if isinstance(rate, Tensor):
            theta.addcdiv_(first * _in(grad, -rate), size)
        else:
            theta.addcdiv_(first, size, value=-rate)

    def _step_fused(self, matrices: Sequence[Tensor], settings: Sequence[Setting], decoupled: bool) -> None:
        """Step in one pass over the memory, by torch's kernel; row by row where members differ in a setting."""
        apart = any(isinstance(value, Tensor) for value in settings)
        n = len(matrices[0]) if apart else 1
        columns = [value.flatten().tolist() if isinstance(value, Tensor) else [value] * n for value in settings]
        step = torch._fused_adamw_ if decoupled else torch._fused_adam_
        for k, (lr, beta1, beta2, eps, weight_decay) in enumerate(zip(*columns, strict=True)):
            theta, grad, first, second = ([matrix[k : k + 1] if apart else matrix] for matrix in matrices)
            step(
                theta,
                grad,
                first,
                second,
                max_exp_avg_sqs=[],
                state_steps=[torch.tensor(float(self.steps))],
                amsgrad=False,
                maximize=False,
                beta1=beta1,
                beta2=beta2,
                lr=lr,
                weight_decay=weight_decay,
                eps=eps,
            )


def _fusible(theta: Tensor, grad: Tensor) -> bool:
    """Return whether torch's fused kernel takes these tensors on a CPU, and rounds all rows alike.

    It rounds a rest that fills no vector in another way, so that the last row would depend on how many there are.
    """
    exact = theta.dtype in (torch.float32, torch.float64) and theta.device.type == "cpu"
    whole = theta.shape[1] * theta.element_size() % _VECTOR == 0
    return exact and whole and theta.is_contiguous() and grad.is_contiguous()


def _rows_of(theta: Tensor, members: Sequence[int]) -> Tensor:
    """Return the rows of some members, with a spare row where ``theta`` has one."""
    return torch.tensor(list(members) * (len(theta) // len(members)), device=theta.device)


def _in(like: Tensor, setting: Setting) -> Setting:
    """Return a column in the dtype of the parameters; until it is used it is computed in float64, as numbers are."""
    return setting.to(like.dtype) if isinstance(setting, Tensor) else setting


def _add(a: Tensor, b: Tensor, factor: Setting) -> Tensor:
    """Add ``factor * b`` to ``a``, by one kernel for numbers and columns, which round alike."""
    return a.addcmul_(b, torch.as_tensor(factor, dtype=a.dtype, device=a.device))


_REFUSED = ("amsgrad", "maximize", "capturable", "differentiable")


def member_optimizer(optimizers: Sequence[torch.optim.Optimizer]) -> type[MemberOptimizer]:
    """Return the class that does for many members what their optimisers of torch do.

    :class:`NotVectorizableError` is raised, and names them, where the class, an option, or several groups of parameters
    have no counterpart.
    """
    kinds = {torch.optim.SGD: MemberSGD, torch.optim.Adam: MemberAdam, torch.optim.AdamW: MemberAdam}
    kind = type(optimizers[0])
    if kind not in kinds or any(type(o) is not kind for o in optimizers):
        raise NotVectorizableError(f"the optimiser {kind.__name__} cannot be vectorized (SGD, Adam and AdamW can)")
    for optimizer in optimizers:
        if len(optimizer.param_groups) != 1:
            raise NotVectorizableError("its optimiser has several groups of parameters")
        group = optimizer.param_groups[0]
        if asked := [name for name in _REFUSED if group.get(name)]:
            raise NotVectorizableError(f"the option {asked[0]} of {kind.__name__} cannot be vectorized")
        if any(isinstance(group[name], Tensor) for name in ("lr", *(("betas",) if "betas" in group else ()))):
            raise NotVectorizableError("its learning rate is a tensor")
        for name in ("nesterov", "decoupled_weight_decay"):
            if group.get(name) != optimizers[0].param_groups[0].get(name):
                raise NotVectorizableError(f"only some members have the option {name} of {kind.__name__}")
    return kinds[kind]


def current_settings(optimizers: Sequence[torch.optim.Optimizer], like: Tensor) -> dict[str, Any]:
    """Return the present settings of the members' optimisers: numbers, or float64 columns where members differ."""
    groups = [o.param_groups[0] for o in optimizers]
    first = groups[0]
    columns: dict[str, list[float]] = {
        name: [float(g[name]) for g in groups]
        for name in ("lr", "momentum", "dampening", "eps", "weight_decay")
        if name in first
    }
    if "betas" in first:
        columns |= {f"beta{i + 1}": [float(g["betas"][i]) for g in groups] for i in range(2)}
    out: dict[str, Any] = {
        name: values[0]
        if len({*values}) == 1
        else torch.tensor(values, dtype=torch.float64, device=like.device)[:, None]
        for name, values in columns.items()
    }
    out["nesterov"] = bool(first.get("nesterov"))
    out["decoupled"] = type(optimizers[0]) is torch.optim.AdamW or bool(first.get("decoupled_weight_decay"))
    return out


def clip_gradients(grad: Tensor | Sequence[Part], max_norm: float, norm_type: float = 2.0) -> None:
    """Scale each member's gradient down to a norm, in place: torch's ``clip_grad_norm_`` for every row."""
    parts = [grad] if isinstance(grad, Tensor) else [part for _, part in grad]
    norms = [torch.linalg.vector_norm(part, norm_type, dim=[*range(1, part.dim())]) for part in parts]
    norm = norms[0] if len(norms) == 1 else torch.linalg.vector_norm(torch.stack(norms), norm_type, dim=0)
    share = (max_norm / (norm + 1e-6)).clamp(max=1.0)
    for part in parts:
        part.mul_(share.view(-1, *[1] * (part.dim() - 1)))
