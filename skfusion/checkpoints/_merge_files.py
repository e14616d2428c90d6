"""Merge checkpoints on disk, of any size, into one file."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from skfusion._numbers import is_summed
from skfusion.checkpoints._archive import hashing
from skfusion.checkpoints._checkpoint import Checkpoint, PathLike
from skfusion.checkpoints._many import open_many
from skfusion.checkpoints._merge_plan import CARD, Job, MergeReport, PlannedTensor, job_of
from skfusion.checkpoints._merge_stream import Progress, Stream
from skfusion.checkpoints.format import HEADER, data_of, header_of, library_version, replacing, write_back
from skfusion.merge import LinearMerger, Merger, TensorMerger
from skfusion.state import is_position, is_statistic

_UNKNOWN = "0" * 64


def merge_checkpoints(
    paths: PathLike | Sequence[PathLike],
    out: PathLike,
    merge: Merger,
    *,
    base: PathLike | None = None,
    heads: Sequence[str] = (),
    keep_heads: bool = False,
    key: str | None = None,
    strip_prefix: str | Sequence[str] = (),
    overwrite: bool = False,
    dry_run: bool = False,
    hashes: bool = True,
    progress: Progress | None = None,
) -> MergeReport:
    """Merge checkpoints on disk into a safetensors file, part by part.

    Parameters
    ----------
    paths : path-like or sequence of path-like
        The members: each a checkpoint as :func:`read_checkpoint` takes it, or the directory of a pool, which stands
        for its members. Where only some have the prefix ``module.`` of ``DataParallel``, it is taken off.
    out : path-like
        The file to write, ``*.safetensors``. It appears when it is complete; what was there stays whole before.
    merge : LinearMerger or TensorMerger
        How to merge, without data.
    base : path-like, optional
        The common start of the members, where the merger needs it; the base of a pool is used without being named.
    heads : sequence of str, optional
        Beginnings of the names of tensors that are not merged but taken from the first checkpoint, as far as a dot or
        the end.
    keep_heads : bool, default=False
        Whether tensors that are missing in a checkpoint, or have another shape there, are heads as well. Otherwise they
        are an error.
    key : str, optional
        The entry with the state in files of ``torch.save``; see :func:`read_checkpoint`. A file that is a state itself
        is read as it is.
    strip_prefix : str or sequence of str, optional
        Beginnings of names, such as ``"model."``, which are taken off where a name has them.
    overwrite : bool, default=False
        Whether a file that is there may be replaced. An input never is.
    dry_run : bool, default=False
        Whether to plan only; nothing is written.
    hashes : bool, default=True
        Whether the model card holds the SHA-256 of every file that is read. They take longer than the merge itself
        where there are few cores.
    progress : callable, optional
        ``progress(what, done, total)`` is called often, with numbers of bytes.

    Returns
    -------
    MergeReport
        What was done to each tensor, and what to know.

    Raises
    ------
    ValueError
        If the checkpoints cannot be merged; the message names the tensor and the file.
    OSError
        If a file cannot be read or written.

    Notes
    -----
    Sums are made in double precision; results have the dtypes of the first checkpoint, and are those of the merger in
    memory, bit for bit. Integers cannot be averaged: of counters, which have no axes, the largest value over the
    members is taken; arrays of them must be the same in all. Tied tensors stay tied, and are written once. Nothing in a
    file is run.

    Costs O(K d) for K members of d parameters. Files are mapped, so memory is that of parts of tensors, some megabytes,
    and what the merger keeps from its survey; mergers that need whole tensors (Slerp, DARE, Breadcrumbs, ModelStock)
    hold the largest one of all members, in double precision.

    The file holds a model card: JSON under the key ``skfusion_card`` of its metadata, with the method, its parameters,
    and the SHA-256 of every file that was read, or null where hashes are left out. It has no date, so that equal inputs
    give equal files. Check sums that files of ``torch.save`` have are compared in any case.

    Torch computes in one thread meanwhile; files are hashed in others.

    Examples
    --------
    >>> import tempfile, torch
    >>> from pathlib import Path
    >>> from skfusion.merge import Uniform
    >>> from skfusion.checkpoints import merge_checkpoints, read_checkpoint
    >>> with tempfile.TemporaryDirectory() as name:
    ...     folder = Path(name)
    ...     for k in (1, 2):
    ...         torch.save({"w": torch.full((2,), float(k))}, folder / f"{k}.pt")
    ...     report = merge_checkpoints(
    ...         [folder / "1.pt", folder / "2.pt"], folder / "soup.safetensors", Uniform()
    ...     )
    ...     read_checkpoint(report.out)["w"].tolist()
    [1.5, 1.5]
    """
    method = _checked(merge)
    target = Path(out)
    listed = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    members, start = open_many(listed, base, key, strip_prefix)
    if not members:
        raise ValueError("No checkpoints to merge; give one path at least.")
    if method.needs_base and start is None:
        raise ValueError(
            f"{type(merge).__name__} needs the common start of the checkpoints: give the network that they were "
            "fine-tuned from, base=... (--base on the command line)."
        )
    stream = Stream(method, job_of(method, members, start, heads, keep_heads), progress)
    stream.check()
    report = _planned(stream, target, hashes)
    inputs = [file for c in (*members, *([] if start is None else [start])) for file in c.files]
    _check_target(target, inputs, overwrite, report.n_bytes)
    return report if dry_run else _written(stream, report, hashes)


def _checked(merge: Merger) -> LinearMerger | TensorMerger:
    if not isinstance(merge, Merger):
        raise TypeError(f"merge must be a merger such as Uniform() or TIES(); got {merge!r}.")
    if merge.needs_objective:
        params = merge.get_params().items()
        free = [name for name, value in params if value is None and name.rpartition("__")[2] in ("scale", "t")]
        raise ValueError(
            f"{merge!r} needs data to judge networks on, which files do not hold. Merge with data: "
            f"SoupClassifier(net, collect=pool, merge={merge!r})"
            + (f"; or give a number for {free[0]}." if free else ".")
        )
    if not isinstance(merge, LinearMerger | TensorMerger):
        raise TypeError(
            f"{merge!r} needs whole networks at once, and files are merged tensor by tensor. Give a merger such as "
            "Uniform() or TIES(), or merge in memory: merge([read_checkpoint(path) for path in paths])."
        )
    return merge


def _planned(stream: Stream, out: Path, hashes: bool) -> MergeReport:
    merge, job = stream.merge, stream.job
    card = _card(merge, job, {}, _UNKNOWN if hashes else None)

    def action(name: str, like: Tensor) -> str:
        if name in job.ties:
            return f"tied to {job.ties[name]}"
        if name in job.heads:
            return f"copied from {job.names[0]}"
        if not is_summed(like):
            return "the same in all" if is_position(like) else "largest value"
        return "mean" if isinstance(merge, TensorMerger) and is_statistic(name) else "merged"

    plan = []
    for name, t in job.result.items():
        dtype, n_bytes = str(t.dtype).removeprefix("torch."), 0 if name in job.ties else t.nbytes
        plan.append(PlannedTensor(name, tuple(t.shape), dtype, n_bytes, action(name, t)))
    members, base = job.split(job.names)
    return MergeReport(
        out,
        repr(merge),
        tuple(members),
        base,
        tuple(plan),
        job.notes
        if hashes
        else (*job.notes, "The model card has no hashes of the checkpoints, as they were left out."),
        stream.read_bytes,
        len(_header(job, card)) + sum(t.n_bytes for t in plan),
        stream.peak_bytes + sum(c.in_memory for c in job.sources),
        card,
    )


def _card(merge: Merger, job: Job, hashes: dict[Path, str], unknown: str | None) -> dict[str, Any]:
    """Return the model card as what JSON can hold; files whose hash is not known have ``unknown``.

    Files appear by their names without folders, so that equal inputs give equal cards.
    """

    def source(c: Checkpoint) -> dict[str, Any]:
        files = [{"name": file.name, "sha256": hashes.get(file, unknown)} for file in c.files]
        return {"name": Path(c.name).name, "files": files}

    members, base = job.split([source(c) for c in job.sources])
    return {
        "library": "skfusion",
        "version": library_version(),
        "method": type(merge).__name__,
        "merge": repr(merge),
        "parameters": json.loads(json.dumps(merge.get_params(), default=repr)),
        "inputs": members,
        "base": base,
        "not_merged": list(job.heads),
    }


def _header(job: Job, card: dict[str, Any]) -> bytes:
    ours = json.dumps({"order": [*job.result], "ties": job.ties})
    return header_of(job.written, {"format": "pt", HEADER: ours, CARD: json.dumps(card)})


def _check_target(out: Path, inputs: Sequence[Path], overwrite: bool, n_bytes: int) -> None:
    if out.suffix != ".safetensors":
        raise ValueError(
            f"The result is a safetensors file: call it {out.with_suffix('.safetensors').name!r}, not {out.name!r}."
        )
    if not out.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, f"The folder {out.parent} of the result does not exist. Make it first.")
    if out.exists():
        if same := [file for file in inputs if out.samefile(file)]:
            raise ValueError(f"The result {out} is the input {same[0]}, which is never overwritten. Give another path.")
        if not overwrite or out.is_dir():
            raise FileExistsError(
                errno.EEXIST, f"{out} is there already. Give another path, or overwrite=True (--force)."
            )
    free = shutil.disk_usage(out.parent).free
    if free < n_bytes:
        raise OSError(errno.ENOSPC, f"The result takes {n_bytes} bytes, and the disk of {out.parent} has {free} left.")


def _written(stream: Stream, report: MergeReport, hashes: bool) -> MergeReport:
    job, card = stream.job, report.card
    files = [*dict.fromkeys(file for c in job.sources for file in c.files)]
    with _one_thread(), hashing(files, hashes) as found:
        known = stream.survey()
        with replacing(report.out, f".{report.out.name}.writing-") as file:
            file.write(_header(job, card))
            begun = 0
            for part in stream.merged(known):
                file.write(data_of(part))
                begun = write_back(file, begun)
            card = _card(
                stream.merge, job, found(stream.progress), None
            )  # of the same length: only hashes have changed
            file.seek(0)
            file.write(_header(job, card))
    notes = report.notes
    if stream.different:
        names = ", ".join(map(repr, stream.different))
        notes += (f"{names}: integers that differ. The largest values were taken, which is right for counters only.",)
    if stream.negative:
        names = ", ".join(map(repr, stream.negative))
        notes += (
            f"{names}: negative variances, whose roots are NaN. Estimate the statistics again on data, with "
            "skfusion.repair.Recalibrate, before the network is used.",
        )
    return replace(report, notes=notes, card=card)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let torch compute in one thread, as sums wait for memory, and for each other where other programs run, too."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
