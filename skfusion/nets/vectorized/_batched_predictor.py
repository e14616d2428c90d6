"""Run many states of an architecture: few rows for all states at once, many rows state by state."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from skfusion._rows import Inputs, one_of
from skfusion._vectorized import Members, Program
from skfusion.nets._prepare import run
from skfusion.nets._runner import Runner
from skfusion.state import State, map_tensors, n_bytes

FEW = 200
"""Rows up to which all states are computed at once."""
RECORDED = 16
"""Rows up to which the kernels are recorded; above, the calls that this spares weigh little."""
LARGEST_COPY = 2**28
"""Bytes of states up to which a copy of them all is kept."""
LARGEST_ACTIVATION = 2**25
"""Bytes up to which a step's result is computed for all states at once; above, memory costs more than calls."""
_SHAPES = 64
"""Shapes of inputs that are remembered."""


class BatchedPredictor:
    """Many states of one architecture, ready to predict.

    Few rows are computed for all states at once, as a row costs a small network no more than the calls that it takes;
    many rows are computed state by state, which needs the memory of one. ``FEW`` rows is where the two ways meet, or
    fewer where activations are large. For each shape of a row, outputs of the two ways are compared first. Of networks
    that convolve, or are not computed together for another reason, the kernels of each state are recorded once a number
    of rows comes again, up to ``RECORDED``: their calls by modules take longer than those of the kernels. The states
    must be on the device of the runner.
    """

    def __init__(self, runner: Runner, states: Sequence[State]):
        self.runner, self.states = runner, list(states)
        small = n_bytes(self.states[0]) * len(self.states) <= LARGEST_COPY
        self._may_vectorize = len(self.states) > 1 and small and not (runner.convolves or runner.aliased)
        self._may_record = small and not runner.aliased  # else kernels would compute with tensors of the last state
        self._lock = threading.Lock()  # a server's threads may predict while the first one compares and records
        self._vectorized: dict[str, Tensor] | None = None
        self._limits: dict[Any, int] = {}
        self._programs: dict[Any, Program | None] = {}
        self._each: dict[Any, list[Program]] = {}  # one program a state; none for what is new or cannot be recorded

    def raw(self, chunks: Sequence[Any]) -> Tensor:
        """Return the logits or values of all states, shape (n_members, n_samples, ...), for rows in chunks.

        The chunks are those of :meth:`Runner.chunks`.
        """
        if self._may_vectorize and len(chunks) == 1 and len(one_of(chunks[0])) <= FEW:
            outputs = self._together(chunks[0])
            if outputs is not None:
                return outputs
        if len(chunks) == 1 and self._may_record and isinstance(x := chunks[0], Tensor) and len(x) <= RECORDED:
            outputs = self._in_turn(x)
            if outputs is not None:
                return outputs
        return torch.stack(self.runner.outputs(self.states, chunks))

    def predict(self, X: Inputs, logs: bool = False) -> np.ndarray:
        """Return probabilities or values of all states, shape (n_members, n_samples, n_outputs), or logarithms.

        Logarithms are those of :meth:`Runner.read`.
        """
        chunks = list(self.runner.chunks(X))
        if len(one_of(X)) <= FEW:
            out = self.raw(chunks)
            together = self.runner.read(out.flatten(0, 1), logs)
            return together.reshape(*out.shape[:2], *together.shape[1:])
        predictions: np.ndarray | None = None
        for k, state in enumerate(self.states):
            p = self.runner.read(self.runner.outputs([state], chunks)[0], logs)
            if predictions is None:  # one array from the start, as the predictions of all may fill the memory
                predictions = np.empty((len(self.states), *p.shape), p.dtype)
            predictions[k] = p
        assert predictions is not None
        return predictions

    def _together(self, x: Any) -> Tensor | None:
        """Return the outputs of all states at once; none where that cannot be done, or does not pay."""
        shapes = tuple((tuple(t.shape[1:]), t.dtype) for t in (x.values() if isinstance(x, dict) else [x]))
        n_rows = len(one_of(x))
        with self._lock:
            if shapes not in self._limits:
                _remember(self._limits, shapes, self._limit(x))
            if n_rows > self._limits[shapes]:
                return None
            program = None
            if isinstance(x, Tensor) and n_rows <= RECORDED:
                key = n_rows, shapes
                if key not in self._programs:
                    _remember(self._programs, key, self._recorded(x))
                program = self._programs[key]
        try:
            if program is None:
                return self._computed(x)
            with torch.inference_mode():
                return program(x)
        except Exception:  # the module alone says what is wrong with an input
            return None

    def _limit(self, x: Any) -> int:
        """Return up to how many rows of this shape all states are computed at once: none where outputs differ."""
        head, largest = _head(x, 8, repeated=True), _Largest()
        self.runner.outputs(self.states[:1], [head])  # raises where the input is wrong
        if self.runner.writes is not False:
            return 0
        with largest:
            if self._tried(head) is None:
                return 0
        limit = min(FEW, LARGEST_ACTIVATION * 8 // max(1, largest.bytes))
        part = _head(x, limit)
        if not limit:
            return 0
        first, last = self.runner.outputs([self.states[0], self.states[-1]], [part])
        outputs = self._tried(part)
        return limit if outputs is not None and _close(first, outputs[0]) and _close(last, outputs[-1]) else 0

    def _tried(self, x: Any) -> Tensor | None:
        """Return the outputs of all states at once; none where that fails, or ``vmap`` has no kernel for a step."""
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("error", "There is a performance drop")
                self._vectorized = self._vectorized or self._tensors_of_all()
                return self._computed(x)
        except Exception:  # whatever a module may do that cannot be done for many
            return None

    def _computed(self, x: Any) -> Tensor:
        assert self._vectorized is not None
        with self.runner.computing(self._vectorized) as module:
            out: Any = run(module, x)
        outputs: Tensor = out.value
        return outputs

    def _recorded(self, x: Tensor) -> Program | None:
        """Return the kernels that compute inputs of this shape, where they give the right outputs for other inputs."""
        noise = _noise(x)
        try:
            program = Program(self._computed, x)
            with torch.inference_mode():
                same = all(_close(program(other), self._computed(other)) for other in (x.flip(-1), noise, noise.relu()))
        except Exception:  # a step that cannot be repeated, or inputs that the module does not take
            return None
        return program if same else None

    def _in_turn(self, x: Tensor) -> Tensor | None:
        """Return the outputs of all states by the kernels of each; none for a new shape, or one without recordings."""
        key = tuple(x.shape), x.dtype
        with self._lock:
            if key not in self._each:
                _remember(self._each, key, [])
                return None
            if self._may_record and not self._each[key]:
                self._each[key] = self._recorded_each(x)
                self._may_record = bool(self._each[key])
            programs = self._each[key]
        if not programs:
            return None
        try:
            with torch.inference_mode():
                return torch.stack([program(x) for program in programs])
        except Exception:  # the module alone says what is wrong with an input
            return None

    def _recorded_each(self, x: Tensor) -> list[Program]:
        """Return the kernels of each state for inputs of this shape; none where they cannot be repeated."""
        if self.runner.writes is not False:
            return []
        noise, programs = _noise(x), []
        for state in self.states:
            with self.runner.computing(state) as module:
                try:
                    program = Program(partial(run, module), x)
                    if not _close(program(noise), run(module, noise)):
                        return []
                except Exception:  # a step that cannot be repeated
                    return []
            programs.append(program)
        return programs

    def _tensors_of_all(self) -> dict[str, Tensor]:
        """Return the tensors of all states as those of one."""
        parts = self.runner.module.named_modules()
        matrices = {f"{prefix}.weight".lstrip(".") for prefix, part in parts if type(part) is nn.Linear}
        together = map_tensors(lambda *tensors: torch.stack(tensors), *self.states)
        tensors: dict[str, Tensor] = {}
        for name, t in together.items():  # products of few rows are twice as fast with contiguous columns
            tensors[name] = Members(t.mT.contiguous().mT if name in matrices else t)
        return tensors


class _Largest(TorchDispatchMode):
    """Keeps the bytes of the largest result of a step that is no view."""

    bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Compute a step."""
        out = func(*args, **(kwargs or {}))
        given = {a.untyped_storage().data_ptr() for a in args if isinstance(a, Tensor)}
        if isinstance(out, Tensor) and out.untyped_storage().data_ptr() not in given:
            self.bytes = max(self.bytes, out.numel() * out.element_size())
        return out


def _head(x: Any, n_rows: int, repeated: bool = False) -> Any:
    """Return the first rows; those that there are again and again where there are fewer."""
    if isinstance(x, dict):
        return {k: _head(v, n_rows, repeated) for k, v in x.items()}
    return x[torch.arange(n_rows, device=x.device) % len(x)] if repeated else x[:n_rows]


def _noise(x: Tensor) -> Tensor:
    """Return random numbers of the size of an input."""
    return torch.randn(x.shape, generator=torch.Generator().manual_seed(0)).to(x) * (1 + x.abs().max())


def _remember(known: dict[Any, Any], key: Any, value: Any) -> None:
    if len(known) >= _SHAPES:
        known.clear()
    known[key] = value


def _close(a: Tensor, b: Tensor) -> bool:
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    return torch.allclose(a, b, 1e-4, 1e-5, equal_nan=True) if a.is_floating_point() else torch.equal(a, b)


class Predictors:
    """Many states of one or several architectures, ready to predict, each on the device of its runner."""

    def __init__(self, runners: Sequence[Runner], states: Sequence[State]):
        groups: dict[int, list[int]] = {}
        for k, runner in enumerate(runners):
            groups.setdefault(id(runner), []).append(k)
        self._order = np.argsort(np.concatenate(list(groups.values())))
        self.dtype = np.result_type(*(runner.precision for runner in runners))
        self._parts = [
            BatchedPredictor(runners[members[0]], [states[k] for k in members]) for members in groups.values()
        ]
        self._members = [*zip(runners, states, strict=True)]

    def predict(self, X: Inputs, logs: bool = False, which: Sequence[int] | None = None) -> np.ndarray:
        """Return the predictions of all states, or of those at some positions; see :meth:`BatchedPredictor.predict`."""
        if which is not None:
            return np.stack([self._of_one(k, X, logs) for k in which]).astype(self.dtype, copy=False)
        predictions = [part.predict(X, logs) for part in self._parts]
        return predictions[0] if len(predictions) == 1 else np.concatenate(predictions)[self._order]

    def _of_one(self, k: int, X: Inputs, logs: bool) -> np.ndarray:
        runner, state = self._members[k]
        return runner.read(runner.outputs([state], list(runner.chunks(X)))[0], logs)
