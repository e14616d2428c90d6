"""Run states through their architecture, and read its outputs: as probabilities, log-probabilities or values."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import torch
from sklearn.base import clone
from torch import Tensor, nn
from torch.nn import functional as F

from skfusion._random import seed_scope
from skfusion._rows import Inputs, Rows, Task, one_of
from skfusion._vectorized import attribute_holding_tensor, keep_freed_memory, lent, slots_of
from skfusion.nets._embeddings import index_error
from skfusion.nets._mlp import MLP
from skfusion.nets._prepare import criterion_type, dtype_of, initialised, match_shapes, run, tensors, two_classes
from skfusion.objective import Likelihood
from skfusion.state import State, misfit, owners


class Runner:
    """An architecture that predicts with any state of it.

    Parameters
    ----------
    net : skorch net
        Sized to the data; not changed.
    task : {"classification", "multilabel", "regression"}
        What the outputs are.
    example : Rows or None
        Rows to materialise lazy layers with; needed only where there are some.
    """

    def __init__(self, net: Any, task: Task, example: Rows | None = None):
        self.task = task
        self.net = clone(net).set_params(verbose=0)
        with seed_scope(0, net.device):
            nothing = Rows(np.zeros((0, 1), np.float32), np.zeros(0))
            self.module: nn.Module = initialised(self.net, example or nothing, keep_net=True).eval()
        if task == "classification" and two_classes(net):
            match_shapes(self.net)
        self.dtype, self.device = dtype_of(self.module), self.net.device or "cpu"
        place = torch.device(self.device)  # without a number it is the present one of several
        self._place = place if place.type == "cpu" or place.index is not None else None
        self.link = link_of(self.net, task)
        self.logits = logits_of(self.net, task)
        self.slots = slots_of(self.module)
        tensors_of = self.module.state_dict().items()
        self._dtypes = {k: v.dtype for k, v in tensors_of if v.is_floating_point() and not nn.parameter.is_lazy(v)}
        self.convolves = any(isinstance(m, nn.modules.conv._ConvNd) for m in self.module.modules())
        self.aliased = attribute_holding_tensor(self.module) is not None  # it would not see tensors that are lent
        self.writes: bool | None = None
        self.lock = threading.Lock()
        keep_freed_memory()

    def place(self, state: State) -> State:
        """Return the state, checked against the architecture, on the device; see :meth:`Runner.on_device`."""
        if (wrong := misfit(state, self.module)) is not None:
            key, shape, needed = wrong
            raise ValueError(
                f"Tensor {key!r} is {shape} in the state and {needed} in the net given as estimator: the member was "
                f"trained with another architecture. {self._remedy(state, key)}"
            )
        return self.on_device(state)

    def _remedy(self, state: State, key: str) -> str:
        if {name.partition(".")[0] for name in state} == {"net", "start"}:
            return (
                "Tensors that begin with net. and start. are those of tangent fine-tunes: give the net "
                "skfusion.nets.with_module(net, skfusion.tangent.Linearised(module))."
            )
        if isinstance(self.module, MLP) and (mean := self.module._mean_after(key)) is not None:
            return (
                "MLP(norm='batch') used to have this bias, which BatchNorm takes away. The state without it computes "
                f"the same: state[{mean!r}] = state[{mean!r}] - state.pop({key!r}), for each of its biases."
            )
        return "Give the net that it was trained with."

    def on_device(self, state: State) -> State:
        """Return the state on the device and in the dtypes of the net, as on loading it; see :meth:`Runner.predict`.

        Members in half precision so run in a net in single precision, and can be added to members of another precision.
        Tensors stay the same where nothing is to be converted, and tied where they are.
        """
        if self._is_ready(state):
            return state
        moved: State = {}
        for key, owner in owners([state]).items():
            tensor, like = state[key], self._dtypes.get(key)
            if owner != key and like == self._dtypes.get(owner):
                moved[key] = moved[owner]
            else:
                moved[key] = tensor.to(self.device, like if tensor.is_floating_point() else None)
        return moved

    def _is_ready(self, state: State) -> bool:
        """Return whether all tensors are on the device and in the dtypes of the net."""
        return self._place is not None and all(
            t.device == self._place and (not t.is_floating_point() or t.dtype == self._dtypes.get(key, t.dtype))
            for key, t in state.items()
        )

    def chunks(self, X: Inputs, n_rows: int = 2048) -> Iterator[Any]:
        """Iterate over inputs as tensors, of as many rows as suit the device; see :meth:`Runner.predict`.

        ``n_rows`` are those of a table on a CPU.

        Yields
        ------
        Tensor or dict of Tensor
            Some rows, on the device of the net.
        """
        first, on_cpu = one_of(X), torch.device(self.device).type == "cpu"
        # On a CPU, activations of so many rows stay in its cache; those of images are larger.
        size = (n_rows if on_cpu else 8192) if first.ndim == 2 else (64 if on_cpu else 512)
        for i in range(0, len(first), size):
            part = {k: v[i : i + size] for k, v in X.items()} if isinstance(X, dict) else X[i : i + size]
            yield tensors(part, self.dtype, self.device)

    def raw(self, state: State, X: Inputs) -> Tensor:
        """Return the module's output for all rows, logits or values; see :meth:`Runner.predict`."""
        return self.outputs([self.on_device(state)], list(self.chunks(X)))[0]

    def outputs(self, states: Iterable[State], chunks: Sequence[Any]) -> list[Tensor]:
        """Return the outputs for chunks of rows with each of the states, on the device; see :meth:`Runner.predict`."""
        outputs = []
        with self.lock, torch.inference_mode():  # threads share the module, which holds one state at a time
            for state in states:
                with self._holding(state):
                    if self.writes is None:
                        self.writes = self._writes(chunks[0])
                    try:
                        parts = [run(self.module, x if self.writes is False else _cloned(x)) for x in chunks]
                    except IndexError as error:
                        raise index_error(self.module, chunks, error) from error
                outputs.append(parts[0] if len(parts) == 1 else torch.cat(parts))
        return outputs

    @contextmanager
    def computing(self, state: Mapping[str, Tensor]) -> Iterator[nn.Module]:
        """Lend the tensors of a state to the module, without gradients; see :meth:`Runner.predict`.

        Yields
        ------
        nn.Module
            The module; no other thread uses it meanwhile.
        """
        with self.lock, torch.inference_mode(), self._holding(state):
            yield self.module

    @contextmanager
    def _holding(self, state: Mapping[str, Tensor]) -> Iterator[None]:
        if self.aliased:
            self.module.load_state_dict(state)
            yield
        else:
            with lent(self.module, state, self.slots):
                yield

    def _writes(self, x: Any) -> bool | None:
        """Return whether the forward pass writes to its input, which is memory of the user's; None if it fails."""
        with torch.inference_mode(False):  # where tensors count the writes to them
            head = _cloned({k: v[:2] for k, v in x.items()} if isinstance(x, dict) else x[:2])
        parts = [*head.values()] if isinstance(head, dict) else [head]
        before = [t._version for t in parts]
        with suppress(Exception):  # the run on all rows will raise it
            run(self.module, head)
            return [t._version for t in parts] != before
        return None

    @property
    def precision(self) -> np.dtype:
        """The dtype of predictions: that of the net, or float32 if that is of half precision."""
        return np.dtype(np.float64 if self.dtype == torch.float64 else np.float32)

    def read(self, out: Tensor, logs: bool = False) -> np.ndarray:
        """Return what outputs of the module stand for, probabilities or values; see :meth:`Runner.predict`."""
        return (self.logits if logs else self.link)(out).cpu().numpy()

    def predict(self, state: State, X: Inputs, logs: bool = False) -> np.ndarray:
        """Return probabilities or values.

        Parameters
        ----------
        state : State
            The weights.
        X : ndarray or dict of ndarray
            Inputs.
        logs : bool, default=False
            Whether to return log-probabilities of classes, or log-odds of labels, in place of probabilities.

        Returns
        -------
        ndarray of shape (n_samples, n_outputs)
            Probabilities or values in the dtype of the net, or in float32 if that is of half precision; logarithms in
            float64.
        """
        return self.read(self.raw(state, X), logs)


def _cloned(x: Any) -> Any:
    return {k: v.clone() for k, v in x.items()} if isinstance(x, dict) else x.clone()


def _read_as(net: Any, task: Task) -> tuple[type, Any, bool, bool]:
    """Return the criterion, what the user asks for, whether outputs are logits, and whether they are one a row."""
    kind, asked = criterion_type(net), net.predict_nonlinearity
    logits = asked == "auto" and issubclass(kind, (nn.CrossEntropyLoss, nn.BCEWithLogitsLoss))
    return kind, asked, logits, task == "classification" and two_classes(net)


def link_of(net: Any, task: Task) -> Callable[[Tensor], Tensor]:
    """Return the map from the module's output to probabilities, by skorch's ``predict_nonlinearity``."""

    def narrow(p: Tensor) -> Tensor:
        return p.reshape(len(p), -1).to(torch.promote_types(p.dtype, torch.float32))  # numpy knows no bfloat16

    if task == "regression":
        return narrow
    kind, asked, logits, one = _read_as(net, task)

    def link(z: Tensor) -> Tensor:
        wide = z.double()
        if one:
            p = (wide.sigmoid() if logits else wide).reshape(len(z), 1)
            p = torch.cat([1 - p, p], 1)
        elif callable(asked):
            p = asked(wide)
        elif logits:
            p = _softmax(wide) if task == "classification" else wide.sigmoid()
        else:
            p = _probabilities(wide, kind)
        return narrow(p).to(torch.promote_types(z.dtype, torch.float32))

    return link


def logits_of(net: Any, task: Task) -> Callable[[Tensor], Tensor]:
    """Return the map from the module's output to log-probabilities of classes, or to log-odds of labels, in float64.

    They are exact where the module returns logits; probabilities of 0 count as the least positive number of their
    dtype.
    """
    kind, asked, logits, one = _read_as(net, task)

    def read(z: Tensor) -> Tensor:
        wide, exact = z.double(), z.dtype
        if not logits:
            if not one and callable(asked):
                wide, exact = asked(wide), torch.float64
            else:
                wide = wide if one else _probabilities(wide, kind)
            if one or task == "multilabel":
                wide = torch.logit(wide, torch.finfo(exact).eps)
            else:
                wide = wide.clamp_min(torch.finfo(exact).tiny).log()
        wide = wide.reshape(len(z), -1)
        if one:
            return torch.cat([F.logsigmoid(-wide), F.logsigmoid(wide)], 1)
        return wide.log_softmax(1) if logits and task == "classification" else wide

    return read


def _probabilities(p: Tensor, kind: type) -> Tensor:
    """Return outputs that are probabilities; raise where one is outside [0, 1]."""
    if len(p) and bool((p < -1e-6).any() or (p > 1 + 1e-6).any()):
        raise ValueError(
            f"The module's outputs are no probabilities, and it is not known how {kind.__name__} reads them: give "
            "the net predict_nonlinearity, such as torch.nn.Softmax(dim=-1)."
        )
    return p


def _softmax(z: Tensor) -> Tensor:
    """Return the softmax over axis 1, of many rows across them: torch's kernel for a short last axis is slow."""
    return z.t().contiguous().softmax(0).t().contiguous() if z.shape[1] < 32 and len(z) > 500 else z.softmax(1)


def likelihood_of(net: Any, task: Task) -> Likelihood:
    """Return how the module's outputs are read as probabilities, in a form that gradients pass through."""
    if task == "regression":
        return Likelihood("gaussian", lambda out: out.reshape(len(out), -1))
    _, asked, logits, one = _read_as(net, task)

    def read(out: Tensor) -> Tensor:
        z = out.reshape(len(out), -1)
        if one:
            return F.pad(z if logits else torch.logit(z, 1e-7), (1, 0))  # the first class has log-odds 0
        if logits:
            return z
        p = asked(out).reshape(len(out), -1) if callable(asked) else z
        return p.clamp_min(torch.finfo(p.dtype).tiny).log() if task == "classification" else torch.logit(p, 1e-7)

    return Likelihood("categorical" if task == "classification" else "bernoulli", read)
