"""Merge the tensors of checkpoints part by part, so that memory does not grow with the networks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from skfusion._numbers import addable, is_finite, is_summed, largest, narrowed, sum_of
from skfusion.checkpoints._merge_plan import Job
from skfusion.merge import Entry, LinearMerger, TensorMerger, is_merged
from skfusion.state import is_position, is_statistic, rest_of

Progress = Callable[[str, int, int], None]
"""Called with what is being done, the bytes that are done, and all bytes."""

_LARGEST_PART, _SMALLEST_PART, _AT_HAND = 2**17, 2**12, 2**19
"""Numbers of one source in a part, which is quickest where all of it fits the processor's cache, and of all sources.

Sums hold one source at a time, so that their parts are as large whatever the number of sources.
"""


class Stream:
    """The merge of a job, of which one part after another is computed while it is read."""

    def __init__(self, merge: LinearMerger | TensorMerger, job: Job, progress: Progress | None = None) -> None:
        self.merge, self.job = merge, job
        self.different: dict[str, None] = {}
        self.negative: dict[str, None] = {}
        first, sources = job.shared[0], (*job.shared, job.heads)
        self._surveyed = [name for name, t in first.items() if name not in job.ties and is_merged(name, t)]
        self.read_bytes = sum(t.nbytes for state in sources for name, t in state.items() if name not in job.ties)
        self._survey_bytes = sum(state[name].nbytes for state in job.shared for name in self._surveyed)
        self.progress = progress or (lambda what, done, total: None)
        at_once = 1 if isinstance(merge, LinearMerger) else len(job.shared)
        self._part = max(_SMALLEST_PART, min(_LARGEST_PART, _AT_HAND // at_once))
        self._buffer = torch.empty(2, self._part, dtype=torch.float64)
        self._needs_whole = isinstance(merge, TensorMerger) and not merge.elementwise
        self._done, self._n_surveys = 0, 0
        size = sum(t.numel() for state in job.shared for t in state.values())
        self._usual = merge.n_surveys(size) if isinstance(merge, TensorMerger) else 0

    @property
    def peak_bytes(self) -> int:
        """About how much memory parts of tensors take: each source, two copies, and some results, at eight bytes."""
        shared = self.job.shared
        whole = [t.numel() for name, t in shared[0].items() if self._needs_whole and is_merged(name, t)]
        scattered = (sum(t.nbytes for t in (s[name] for s in shared) if not t.is_contiguous()) for name in shared[0])
        return 8 * max([self._part, *whole]) * (3 * len(shared) + 4) + max(scattered, default=0)

    def check(self) -> None:
        """Raise ``ValueError`` where parameters of the merger make no sense, without reading the data."""
        self.survey(lambda: ())

    def survey(self, read: Callable[[], Iterable[Entry]] | None = None) -> Any:
        """Return what must be known of all tensors before the first one is merged; ``read`` yields them."""
        if isinstance(self.merge, LinearMerger):
            return self.merge.coefficients(*self.job.split(self.job.shared))
        return self.merge.survey(read or self._all_entries, self.job.n_members)

    def merged(self, known: Any) -> Iterator[Tensor]:
        """Yield the parts of the result, in its dtypes, in the order of the data; each is overwritten by the next."""
        self._usual = 0  # surveys are over
        for name, first in self.job.written.items():
            for part in self._results(name, first, known):
                if is_statistic(name) and name.endswith("var") and bool((addable(part) < 0).any()):
                    self.negative[name] = None
                yield part

    def _all_entries(self) -> Iterator[Entry]:
        self._n_surveys += 1
        for name in self._surveyed:
            yield from self._entries(name, "Surveying")

    def _entries(self, name: str, doing: str) -> Iterator[Entry]:
        for pieces in self._pieces([s[name] for s in self.job.shared], doing, self._needs_whole):
            parts = [piece.to(torch.float64) for piece in pieces]
            self._check_finite(name, parts)
            yield Entry(name, *self.job.split(parts))

    def _results(self, name: str, first: Tensor, known: Any) -> Iterator[Tensor]:
        if name in self.job.heads:
            for pieces in self._pieces([first], "Merging"):
                self._check_finite(name, pieces)
                yield pieces[0]
        elif isinstance(self.merge, TensorMerger) and is_merged(name, first):
            for entry in self._entries(name, "Merging"):
                yield narrowed(self.merge.tensor(entry, known), first.dtype, name)
        elif is_summed(first):
            coefficients = self._coefficients(known)
            for pieces in self._pieces([s[name] for s in self.job.shared], "Merging"):
                yield self._sum(name, pieces, coefficients)
        else:
            for pieces in self._pieces([s[name] for s in self.job.shared], "Merging"):
                yield self._combined(name, pieces, known)

    def _coefficients(self, known: Any) -> list[float]:
        """Return the coefficients of all sources in a sum; those of a merger that is no sum are of the mean."""
        members, base = self.job.split(self.job.names)
        if not isinstance(self.merge, LinearMerger):
            return [1 / len(members)] * len(members) + [0.0] * (base is not None)
        return [*known, *([] if base is None else [rest_of(known)])]

    def _sum(self, name: str, pieces: list[Tensor], coefficients: Sequence[float]) -> Tensor:
        """Return the sum of parts in the dtype of the first, or raise ``ValueError`` that names the file at fault.

        NaN and infinity stay in a sum, so that only what is not added is looked at by itself.
        """
        n = self.job.n_members  # a base that is not added counts for nothing
        if not all(is_finite(piece) for piece, c in zip(pieces[:n], coefficients[:n], strict=True) if c == 0):
            self._check_finite(name, pieces)
        try:
            return narrowed(sum_of(pieces, coefficients, self._buffer), pieces[0].dtype, name)
        except ValueError:
            self._check_finite(name, pieces)  # its message names the file
            raise

    def _combined(self, name: str, pieces: list[Tensor], known: Any) -> Tensor:
        different = [k for k, p in enumerate(pieces) if not torch.equal(p, pieces[0])]
        if different and is_position(self.job.shared[0][name]):
            raise ValueError(
                f"Tensor {name!r} holds integers, and other ones in {self.job.names[0]} than in "
                f"{self.job.names[different[0]]}. Such arrays are positions and no counters, so what these networks "
                "compute cannot be averaged. If it does not matter, name it as a head, which is taken from the first: "
                f"heads=[{name!r}] (--head {name})."
            )
        if different and not name.endswith("num_batches_tracked"):
            self.different[name] = None
        kept = [k for k, c in enumerate(self._coefficients(known)) if c != 0] or [0]
        return largest([pieces[k] for k in kept])

    def _pieces(self, tensors: Sequence[Tensor], doing: str, whole: bool = False) -> Iterator[list[Tensor]]:
        flat = tensors if whole else [t.reshape(-1) for t in tensors]
        for start in range(0, tensors[0].numel(), max(1, tensors[0].numel()) if whole else self._part):
            pieces = [*flat] if whole else [t[start : start + self._part] for t in flat]
            yield pieces
            self._done += sum(piece.nbytes for piece in pieces)
            self.progress(doing, self._done, self._total)

    @property
    def _total(self) -> int:
        """Bytes that are read by the merge and by its surveys: as many as usual, or more where there were more."""
        return self.read_bytes + max(self._usual, self._n_surveys) * self._survey_bytes

    def _check_finite(self, name: str, parts: Sequence[Tensor]) -> None:
        for part, source in zip(parts, self.job.names, strict=False):
            if not is_finite(part):
                raise ValueError(
                    f"Tensor {name!r} of {source} holds NaN or infinity: the file is damaged, or its training "
                    "diverged. Leave this checkpoint out."
                )
