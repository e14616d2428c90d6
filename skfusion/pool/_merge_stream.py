"""Merge the tensors of checkpoints part by part."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from skfusion._numbers import addable, is_finite, is_summed, narrowed
from skfusion.merge import Entry, LinearMerger, TensorMerger, is_merged
from skfusion.pool._merge_plan import Job
from skfusion.state import is_position, is_statistic, weighted_sum

Progress = Callable[[str, int, int], None]
"""Called with what is being done, the bytes that are done, and all bytes."""

_LARGEST_PART, _SMALLEST_PART, _AT_HAND = 2**17, 2**12, 2**19
"""Numbers of one source in a part, which is quickest where all of it fits the processor's cache, and of all sources."""


def silent(what: str, done: int, total: int) -> None:
    """Tell nobody how far it is."""


class Stream:
    """The merge of a job, which is made while it is read.

    Parameters
    ----------
    merge : LinearMerger or TensorMerger
        The method.
    job : Job
        The tensors.
    tell : callable, optional
        ``tell(what, done, total)`` is called often.
    """

    def __init__(self, merge: LinearMerger | TensorMerger, job: Job, tell: Progress = silent) -> None:
        self.merge, self.job, self._tell = merge, job, tell
        self.read_bytes, self._survey_bytes = read_bytes(job), _survey_bytes(job)
        self.unlike: dict[str, None] = {}
        self.negative: dict[str, None] = {}
        self._part = max(_SMALLEST_PART, min(_LARGEST_PART, _AT_HAND // len(job.shared)))
        self._done, self._n_surveys = 0, 0
        size = sum(state[name].numel() for state in job.shared for name in state)
        self._usual = merge.n_surveys(size) if isinstance(merge, TensorMerger) else 0

    def check(self) -> None:
        """Raise ``ValueError`` where parameters of the merger make no sense, without a look at the data."""
        self._known(lambda: ())

    def survey(self) -> Any:
        """Return what must be known of all tensors before the first one is merged."""
        return self._known(self._all_entries)

    def _known(self, read: Callable[[], Iterable[Entry]]) -> Any:
        n, states = self.job.n_members, self.job.shared
        if isinstance(self.merge, LinearMerger):
            return self.merge.coefficients(states[:n], states[n] if len(states) > n else None)
        return self.merge.survey(read, n)

    def merged(self, known: Any) -> Iterator[Tensor]:
        """Yield the parts of the result, in its dtypes, in the order of the data."""
        self._usual = 0  # surveys are over
        for name, first in self.job.written.items():
            for found in self._results(name, first, known):
                if is_statistic(name) and name.endswith("var") and bool((addable(found) < 0).any()):
                    self.negative[name] = None
                yield narrowed(found, first.dtype, name)

    def _all_entries(self) -> Iterator[Entry]:
        self._n_surveys += 1
        for name, first in self.job.shared[0].items():
            if name not in self.job.ties and is_merged(name, first):
                yield from self._entries(name, "Surveying")

    def _entries(self, name: str, doing: str) -> Iterator[Entry]:
        n, whole = self.job.n_members, not self.merge.elementwise
        for pieces in self._pieces([s[name] for s in self.job.shared], doing, whole):
            parts = [piece.to(torch.float64) for piece in pieces]
            self._check_finite(name, parts)
            yield Entry(name, parts[:n], parts[n] if len(parts) > n else None)

    def _results(self, name: str, first: Tensor, known: Any) -> Iterator[Tensor]:
        if name in self.job.heads:
            for pieces in self._pieces([first], "Merging"):
                self._check_finite(name, pieces)
                yield pieces[0]
        elif isinstance(self.merge, TensorMerger) and is_merged(name, first):
            for entry in self._entries(name, "Merging"):
                yield self.merge.tensor(entry, known)
        else:
            for pieces in self._pieces([s[name] for s in self.job.shared], "Merging"):
                yield self._combined(name, pieces, known)

    def _combined(self, name: str, pieces: list[Tensor], known: Any) -> Tensor:
        n = self.job.n_members
        unlike = [k for k, p in enumerate(pieces) if not is_summed(p) and not torch.equal(p, pieces[0])]
        if unlike and is_position(self.job.shared[0][name]):
            raise ValueError(
                f"Tensor {name!r} holds integers, and other ones in {self.job.names[0]} than in "
                f"{self.job.names[unlike[0]]}. Such arrays are positions and no counters, so what these networks "
                "compute cannot be averaged. If it does not matter, name it as a head, which is taken from the first: "
                f"heads=[{name!r}] (--head {name})."
            )
        if unlike and not name.endswith("num_batches_tracked"):
            self.unlike[name] = None
        states = [{name: piece} for piece in pieces]
        try:
            if isinstance(self.merge, LinearMerger):
                return self.merge.combine(states[:n], known, states[n] if len(states) > n else None)[name]
            return weighted_sum(states[:n], [1 / n] * n)[name]
        except ValueError:
            self._check_finite(name, pieces)  # which knows the names of the files
            raise

    def _pieces(self, tensors: Sequence[Tensor], doing: str, whole: bool = False) -> Iterator[list[Tensor]]:
        flat = tensors if whole else [t.reshape(-1) for t in tensors]
        for start in range(0, tensors[0].numel(), max(1, tensors[0].numel()) if whole else self._part):
            pieces = [*flat] if whole else [t[start : start + self._part] for t in flat]
            yield pieces
            self._done += sum(piece.numel() * piece.element_size() for piece in pieces)
            self._tell(doing, self._done, self._total)

    @property
    def _total(self) -> int:
        """Bytes that are read by the surveys that there are as a rule, or more of them, and by the merge."""
        return self.read_bytes + max(self._usual, self._n_surveys) * self._survey_bytes

    def _check_finite(self, name: str, parts: Sequence[Tensor]) -> None:
        for part, source in zip(parts, self.job.names, strict=False):
            check_finite(part, name, source)


def read_bytes(job: Job) -> int:
    """Return the bytes of all tensors that a merge reads."""
    unique = [t for state in (*job.shared, job.heads) for name, t in state.items() if name not in job.ties]
    return sum(t.numel() * t.element_size() for t in unique)


def _survey_bytes(job: Job) -> int:
    named = [name for name, first in job.shared[0].items() if name not in job.ties and is_merged(name, first)]
    return sum(state[name].numel() * state[name].element_size() for state in job.shared for name in named)


def peak_bytes(merge: LinearMerger | TensorMerger, job: Job) -> int:
    """Return about how much memory parts of tensors take: each source, two copies, and some results, at eight bytes."""
    n = len(job.shared)
    part = max(_SMALLEST_PART, min(_LARGEST_PART, _AT_HAND // n))
    if isinstance(merge, TensorMerger) and not merge.elementwise:
        part = max([part, *(t.numel() for name, t in job.shared[0].items() if is_merged(name, t))])
    scattered = (
        sum(t.nbytes for t in (s[name] for s in job.shared) if not t.is_contiguous()) for name in job.shared[0]
    )
    return 8 * part * (3 * n + 4) + max(scattered, default=0)


def check_finite(tensor: Tensor, name: str, source: str) -> None:
    """Raise ``ValueError`` that names the tensor and the checkpoint with NaN or infinity in it."""
    if not is_finite(tensor):
        raise ValueError(
            f"Tensor {name!r} of {source} holds NaN or infinity: the file is damaged, or its training diverged. Leave "
            "this checkpoint out."
        )
