"""Run states through their architecture: outputs, probabilities, values."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from sklearn.base import clone
from torch import Tensor, nn

from skfusion._rows import Inputs, Rows, Task, one_of
from skfusion._vectorized import attribute_holding_tensor, keep_freed_memory, lent, slots_of
from skfusion.nets._embeddings import index_error
from skfusion.nets._mlp import MLP
from skfusion.nets._prepare import dtype_of, initialised, match_shapes, run, seed_scope, tensors, two_classes
from skfusion.nets.losses._output import link_of, logits_of
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
        """Return the state on the device of the net and in its dtypes, checked against the architecture.

        Parameters
        ----------
        state : State
            The weights, of any architecture.

        Returns
        -------
        State
            The same values; see :meth:`on_device`.

        Raises
        ------
        ValueError
            If a tensor is missing, unknown or of another shape; it names the tensor and both shapes.
        """
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
        if isinstance(self.module, MLP) and (mean := self.module.mean_after(key)) is not None:
            return (
                "MLP(norm='batch') used to have this bias, which BatchNorm takes away. The state without it computes "
                f"the same: state[{mean!r}] = state[{mean!r}] - state.pop({key!r}), for each of its biases."
            )
        return "Give the net that it was trained with."

    def on_device(self, state: State) -> State:
        """Return the state on the device of the net, and in its dtypes, as ``load_state_dict`` converts it.

        Members in half precision so run in a net in single precision, and can be added to members of another precision.

        Parameters
        ----------
        state : State
            The weights.

        Returns
        -------
        State
            The same tensors where nothing is to be converted; tied tensors stay tied.
        """
        moved: State = {}
        for key, owner in owners([state]).items():
            tensor, like = state[key], self._dtypes.get(key)
            if owner != key and like == self._dtypes.get(owner):
                moved[key] = moved[owner]
            else:
                moved[key] = tensor.to(self.device, like if tensor.is_floating_point() else None)
        return moved

    def chunks(self, X: Inputs) -> Iterator[Any]:
        """Iterate over inputs as tensors: as many rows as keep activations in a CPU's cache, fewer of images.

        Parameters
        ----------
        X : ndarray or dict of ndarray
            Inputs.

        Yields
        ------
        Tensor or dict of Tensor
            Some rows, on the device of the net.
        """
        first = one_of(X)
        on_cpu = torch.device(self.device).type == "cpu"
        size = (2048 if on_cpu else 8192) if first.ndim == 2 else (64 if on_cpu else 512)
        for i in range(0, len(first), size):
            part = {k: v[i : i + size] for k, v in X.items()} if isinstance(X, dict) else X[i : i + size]
            yield tensors(part, self.dtype, self.device)

    def raw(self, state: State, X: Inputs) -> Tensor:
        """Return the module's output for all rows.

        Parameters
        ----------
        state : State
            The weights.
        X : ndarray or dict of ndarray
            Inputs.

        Returns
        -------
        Tensor of shape (n_samples, ...)
            Logits or values.
        """
        return self.outputs([self.on_device(state)], list(self.chunks(X)))[0]

    def outputs(self, states: Iterable[State], chunks: Sequence[Any]) -> list[Tensor]:
        """Return the module's outputs with each state.

        Parameters
        ----------
        states : iterable of State
            The weights, on the device of the net.
        chunks : sequence of Tensor or dict of Tensor
            Rows that :meth:`chunks` made.

        Returns
        -------
        list of Tensor
            Logits or values of all rows, shape (n_samples, ...), for each state.
        """
        outputs = []
        with self.lock, torch.inference_mode():
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
        """Lend the tensors of a state to the module, in evaluation mode and without gradients.

        Parameters
        ----------
        state : State
            The weights.

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
            return
        with lent(self.module, state, self.slots):
            yield

    def _writes(self, x: Any) -> bool | None:
        """Return whether the forward pass writes to its input, which is memory of the user's; None if it fails."""
        with torch.inference_mode(False):  # where tensors count the writes to them
            head = _cloned({k: v[:2] for k, v in x.items()} if isinstance(x, dict) else x[:2])
        parts = [*head.values()] if isinstance(head, dict) else [head]
        before = [t._version for t in parts]
        try:
            run(self.module, head)
        except Exception:  # the run on all rows will raise it
            return None
        return [t._version for t in parts] != before

    @property
    def precision(self) -> np.dtype:
        """The dtype of predictions: that of the net, or float32 if that is of half precision."""
        return np.dtype(np.float64 if self.dtype == torch.float64 else np.float32)

    def read(self, out: Tensor, logs: bool = False) -> np.ndarray:
        """Return what outputs of the module stand for.

        Parameters
        ----------
        out : Tensor of shape (n_samples, ...)
            Logits or values.
        logs : bool, default=False
            Whether to return log-probabilities of classes, or log-odds of labels, in place of probabilities.

        Returns
        -------
        ndarray of shape (n_samples, n_outputs)
            Probabilities or values in the dtype of the net, or in float32 if that is of half precision; logarithms in
            float64.
        """
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
            Whether to return logarithms; see :meth:`read`.

        Returns
        -------
        ndarray of shape (n_samples, n_outputs)
            The prediction.
        """
        return self.read(self.raw(state, X), logs)


def _cloned(x: Any) -> Any:
    return {k: v.clone() for k, v in x.items()} if isinstance(x, dict) else x.clone()
