"""Run many states of an architecture: few rows for all states at once, many rows state by state."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from skfusion.nets._runner import Runner
from skfusion.nets._size import run
from skfusion.rows import Inputs, one_of
from skfusion.stacked import Members, NotRecordableError, Program
from skfusion.state import State, n_bytes, stack

FEW = 200
"""Rows up to which all states are computed at once."""
RECORDED = 16
"""Rows up to which the kernels are recorded; above, the calls that this spares weigh little."""
LARGEST_STACK = 2**28
"""Bytes of states up to which a copy of them all is kept."""


class Lineup:
    """Many states of one architecture, ready to predict.

    Few rows are computed for all states at once, as a row costs a small network no more than the calls that it takes;
    many rows are computed state by state, which needs the memory of one. ``FEW`` rows is where the two ways meet.

    Parameters
    ----------
    runner : Runner
        The architecture.
    states : sequence of State
        The weights, on the device of the runner.
    """

    def __init__(self, runner: Runner, states: Sequence[State]):
        self.runner, self.states = runner, list(states)
        small = n_bytes(self.states[0]) * len(self.states) <= LARGEST_STACK
        self._may_stack = len(self.states) > 1 and small and not runner.convolves
        self._stack: dict[str, Tensor] | None = None
        self._programs: dict[Any, Program | None] = {}

    def raw(self, chunks: Sequence[Any]) -> Tensor:
        """Return the outputs of all states for rows that :meth:`Runner.chunks` made.

        Parameters
        ----------
        chunks : sequence of Tensor or dict of Tensor
            Inputs.

        Returns
        -------
        Tensor of shape (n_members, n_samples, ...)
            Logits or values.
        """
        if self._may_stack and len(chunks) == 1 and len(one_of(chunks[0])) <= FEW:
            found = self._together(chunks[0])
            if found is not None:
                return found
            self._may_stack = False
        return torch.stack(self.runner.outputs(self.states, chunks))

    def predict(self, X: Inputs) -> np.ndarray:
        """Return the predictions of all states.

        Parameters
        ----------
        X : ndarray or dict of ndarray
            Inputs.

        Returns
        -------
        ndarray of shape (n_members, n_samples, n_outputs)
            Probabilities or values.
        """
        chunks = list(self.runner.chunks(X))
        if len(one_of(X)) <= FEW:
            out = self.raw(chunks)
            return self.runner.link(out.flatten(0, 1)).unflatten(0, out.shape[:2]).cpu().numpy()
        found: np.ndarray | None = None
        for k, state in enumerate(self.states):
            p = self.runner.link(self.runner.outputs([state], chunks)[0]).cpu().numpy()
            found = np.empty((len(self.states), *p.shape), p.dtype) if found is None else found
            found[k] = p
        assert found is not None
        return found

    def _together(self, x: Any) -> Tensor | None:
        """Return the outputs of all states at once; none where that cannot be done, or gives other outputs."""
        if self._stack is None:
            self._stack = self._stacked()
            try:
                with warnings.catch_warnings():
                    warnings.filterwarnings("error", "There is a performance drop")
                    found = self._computed(x)
            except Exception:  # whatever a module may do that cannot be done for many
                return None
            ends = [(self.states[k], found[k]) for k in (0, -1)]
            if not all(_close(self.runner.outputs([state], [x])[0], out) for state, out in ends):
                return None
        if not isinstance(x, Tensor) or len(x) > RECORDED:
            return self._computed(x)
        key = (tuple(x.shape), x.dtype)
        if key not in self._programs:
            self._programs[key] = self._recorded(x)
        program = self._programs[key]
        if program is None:
            return self._computed(x)
        with torch.inference_mode():
            return program(x)

    def _computed(self, x: Any) -> Tensor:
        assert self._stack is not None
        with self.runner.computing(self._stack) as module:
            out: Any = run(module, x)
        found: Tensor = out.value
        return found

    def _recorded(self, x: Tensor) -> Program | None:
        """Return the kernels that compute inputs of this shape, where they give the same outputs for another one."""
        other = x.flip(-1)
        try:
            program = Program(self._computed, x)
            with torch.inference_mode():
                same = _close(program(other), self._computed(other))
        except NotRecordableError:
            return None
        return program if same else None

    def _stacked(self) -> dict[str, Tensor]:
        """Return the tensors of all states as those of one."""
        parts = self.runner.module.named_modules()
        matrices = {f"{prefix}.weight".lstrip(".") for prefix, part in parts if type(part) is nn.Linear}
        tensors: dict[str, Tensor] = {}
        for name, t in stack(self.states).items():  # products of few rows are twice as fast with columns in a row
            tensors[name] = Members(t.mT.contiguous().mT if name in matrices else t)
        return tensors


def _close(a: Tensor, b: Tensor) -> bool:
    return torch.allclose(a, b, 1e-4, 1e-5, equal_nan=True)


class Lineups:
    """Many states of one or several architectures, ready to predict.

    Parameters
    ----------
    runners : sequence of Runner
        The architecture of each state.
    states : sequence of State
        The weights, on the devices of their runners.
    """

    def __init__(self, runners: Sequence[Runner], states: Sequence[State]):
        groups: dict[int, list[int]] = {}
        for k, runner in enumerate(runners):
            groups.setdefault(id(runner), []).append(k)
        self._order = np.argsort(np.concatenate(list(groups.values())))
        self._parts = [Lineup(runners[members[0]], [states[k] for k in members]) for members in groups.values()]

    def predict(self, X: Inputs) -> np.ndarray:
        """Return the predictions of all states; see :meth:`Lineup.predict`."""
        found = [part.predict(X) for part in self._parts]
        return found[0] if len(found) == 1 else np.concatenate(found)[self._order]
