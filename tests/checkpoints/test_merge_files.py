"""Merging on disk: it is the merger in memory, bit for bit, in little memory; and either whole or not there."""

import errno
import hashlib
import json
import math
import os
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import nullcontext
from itertools import pairwise
from pathlib import Path

import pytest
import safetensors
import safetensors.torch
import torch
from torch import nn

import skfusion
from skfusion.checkpoints import _archive, _merge_files, _merge_stream, merge_checkpoints, read_checkpoint
from skfusion.checkpoints._merge_plan import CARD
from skfusion.checkpoints.format import _replacing
from skfusion.checkpoints.format._safetensors import DTYPES as WRITABLE
from skfusion.checkpoints.format._safetensors import data_of
from skfusion.merge import (
    DARE,
    TIES,
    Breadcrumbs,
    Fisher,
    Greedy,
    Interpolate,
    LinearMerger,
    Merger,
    ModelStock,
    Slerp,
    TaskArithmetic,
    TensorMerger,
    Uniform,
)
from skfusion.pool import Member, ModelPool
from skfusion.testing import discover

LINUX = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux tells how much memory is used")
ALL = [cls(**params) for cls in discover(Merger) for params in cls._test_params()]
ON_DISK = [merge for merge in ALL if isinstance(merge, LinearMerger | TensorMerger) and not merge.needs_objective]
DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]


def network(seed, dtype=torch.float32):
    """Return a state with BatchNorm's statistics, counters, a tie, and tensors of all ranks."""
    generator = torch.Generator().manual_seed(seed)

    def some(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)

    tied = some(5, 3)
    return {
        "z.weight": some(7, 4),
        "tied": tied,
        "bn.running_mean": some(4),
        "bn.running_var": some(4).square() + 1,
        "bn.num_batches_tracked": torch.tensor(10 * seed + 3),
        "a.weight": some(2, 3, 4).permute(2, 0, 1),
        "scalar": some(),
        "empty": some(0, 3),
        "again": tied,
        "mask": torch.tensor([True, False]),
    }


def save(content, path):
    if path.suffix == ".pt":
        torch.save(content, path)
    else:
        safetensors.torch.save_file({n: t.clone().contiguous() for n, t in content.items()}, path)
    return path


def save_shards(content, folder):
    folder.mkdir()
    names = list(content)
    parts = {f"{k}.safetensors": names[k::3] for k in range(3)}
    for file, part in parts.items():
        save({n: content[n] for n in part}, folder / file)
    weight_map = {n: file for file, part in parts.items() for n in part}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return folder


def inputs(folder, n=3, kind="pt", dtype=torch.float32, make=network):
    """Return the paths of n members and of their base, and their states."""
    states = [make(seed, dtype) for seed in range(1, n + 2)]
    if kind == "shards":
        paths = [save_shards(s, folder / f"{k}") for k, s in enumerate(states)]
    else:
        paths = [save(s, folder / f"{k}.{kind}") for k, s in enumerate(states)]
    return paths[:n], paths[n], states[:n], states[n]


def plain(seed, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(4, generator=generator).to(dtype) for name in ("body.w", "head.w")}


def assert_equal(found, expected):
    assert [*found] == [*expected]
    for name, t in expected.items():
        assert found[name].dtype == t.dtype, name
        assert torch.equal(found[name], t), name


def refused(paths, out, merge=None, error=ValueError, **options):
    with pytest.raises(error) as caught:
        merge_checkpoints(paths, out, merge or Uniform(), **options)
    assert not [p for p in out.parent.iterdir() if ".writing" in p.name]
    return str(caught.value)


@pytest.fixture
def small_parts(monkeypatch):
    """Parts of three numbers, so that small tensors have many of them."""
    for name in ("_LARGEST_PART", "_SMALLEST_PART"):
        monkeypatch.setattr(_merge_stream, name, 3)


# It is the merger in memory.


@pytest.mark.parametrize("kind", ["pt", "safetensors", "shards"])
@pytest.mark.parametrize("merge", ON_DISK, ids=repr)
def test_it_is_the_merger_in_memory(tmp_path, merge, kind, small_parts):
    paths, start, _, _ = inputs(tmp_path, kind=kind)
    states = [read_checkpoint(path) for path in paths]
    expected = merge(states, read_checkpoint(start) if merge.needs_base else None)
    report = merge_checkpoints(paths, tmp_path / "out.safetensors", merge, base=start if merge.needs_base else None)
    found = read_checkpoint(report.out)
    assert_equal(found, expected)
    assert (found["tied"].data_ptr() == found["again"].data_ptr()) == (kind == "pt")


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("merge", [Uniform([1, 2, 0]), TIES(0.5), Slerp(), TaskArithmetic(-0.7)], ids=repr)
def test_of_any_dtype(tmp_path, merge, dtype, small_parts):
    paths, start, states, base = inputs(tmp_path, dtype=dtype)
    merge_checkpoints(paths, tmp_path / "out.safetensors", merge, base=start if merge.needs_base else None)
    assert_equal(read_checkpoint(tmp_path / "out.safetensors"), merge(states, base))


@pytest.mark.parametrize("merge", [Uniform(), TIES(0.3)], ids=repr)
def test_of_parts_that_are_as_large_as_they_are(tmp_path, merge):
    def make(seed, dtype):
        return {"w": torch.randn(3 * 2**17 + 5, generator=torch.Generator().manual_seed(seed)), "b": torch.ones(3)}

    paths, start, states, base = inputs(tmp_path, 3, "safetensors", make=make)
    merge_checkpoints(paths, tmp_path / "out.safetensors", merge, base=start if merge.needs_base else None)
    found, expected = read_checkpoint(tmp_path / "out.safetensors"), merge(states, base)
    assert all(torch.equal(found[name], t) for name, t in expected.items())


def test_one_member_is_itself(tmp_path):
    paths, _, (state,), _ = inputs(tmp_path, 1)
    merge_checkpoints(paths[0], tmp_path / "out.safetensors", Uniform())
    assert_equal(read_checkpoint(tmp_path / "out.safetensors"), state)


def test_other_programs_can_read_it(tmp_path):
    paths, _, states, _ = inputs(tmp_path)
    merge_checkpoints(paths, tmp_path / "out.safetensors", Uniform())
    found = safetensors.torch.load_file(tmp_path / "out.safetensors")  # checks offsets, shapes and dtypes
    expected = Uniform()(states)
    assert {*found} == {*expected} - {"again"}  # ties are written once, as safetensors wants it
    assert all(torch.equal(t, expected[name]) for name, t in found.items())


SUMMED = [d for d in WRITABLE if d.is_floating_point or d.is_complex]


@pytest.mark.parametrize("merge", [Uniform(), TIES()], ids=["uniform", "ties"])
@pytest.mark.parametrize("dtype", [*WRITABLE], ids=str)
def test_every_dtype_is_merged_as_in_memory(tmp_path, dtype, merge):
    """What files can hold, states can: numbers are averaged, counters take the largest value."""

    def make(seed, _):
        counts = torch.tensor(2.0 * seed).to(dtype)
        w = torch.tensor([1.0, 2.0, 4.0]).mul(seed).to(dtype) if dtype in SUMMED else counts
        return {"w": w, "head": torch.ones(2).to(dtype)}

    paths, base, states, start = inputs(tmp_path, 3, make=make)
    merge_checkpoints(paths, tmp_path / "out.safetensors", merge, base=base, heads=["head"])
    found = read_checkpoint(tmp_path / "out.safetensors")["w"]
    expected = merge([{"w": s["w"]} for s in states], {"w": start["w"]})["w"]
    assert found.dtype == dtype
    assert bytes(data_of(found)) == bytes(data_of(expected))
    if isinstance(merge, Uniform):
        wanted = [2, 4, 8] if dtype in SUMMED else 1 if dtype == torch.bool else 6
        assert found.to(torch.complex128).tolist() == wanted


@pytest.mark.parametrize("dtype", SUMMED, ids=str)
def test_nan_is_found_in_every_dtype(tmp_path, dtype):
    bad = torch.tensor([1.0, float("nan")]).to(dtype)
    states = [{"w": torch.ones(2).to(dtype)}, {"w": bad}]
    paths = [save(s, tmp_path / f"{k}.pt") for k, s in enumerate(states)]
    with pytest.raises(ValueError, match="Tensor 'w' of .*1.pt holds NaN"):
        merge_checkpoints(paths, tmp_path / "out.safetensors", Uniform())
    with pytest.raises(ValueError, match="Tensor 'w' of member 1 holds NaN"):
        Uniform()(states)


def test_kinds_of_numbers_are_not_mixed_in_memory_either(tmp_path):
    states = [{"w": torch.ones(2)}, {"w": torch.ones(2, dtype=torch.int64)}]
    paths = [save(s, tmp_path / f"{k}.pt") for k, s in enumerate(states)]
    for merge in (lambda: merge_checkpoints(paths, tmp_path / "out.safetensors", Uniform()), lambda: Uniform()(states)):
        with pytest.raises(ValueError, match=r"'w' is torch.float32 in .*0.* and torch.int64 in .*1.*"):
            merge()


def test_members_of_a_pool(tmp_path):
    states = [network(k) for k in range(4)]
    pool = ModelPool([Member(f"m{k}", s) for k, s in enumerate(states[:3])], base=states[3])
    pool.save(tmp_path / "pool")
    report = merge_checkpoints(tmp_path / "pool", tmp_path / "out.safetensors", TIES())
    assert_equal(read_checkpoint(report.out), TIES()(states[:3], states[3]))
    assert report.inputs == tuple(f"{tmp_path / 'pool'}[m{k}]" for k in range(3))
    assert report.base == f"{tmp_path / 'pool'}[base]"
    other = save(network(9), tmp_path / "other.pt")
    merge_checkpoints([tmp_path / "pool", other], tmp_path / "all.safetensors", TIES(), base=other)
    assert_equal(read_checkpoint(tmp_path / "all.safetensors"), TIES()([*states[:3], network(9)], network(9)))


def test_mixed_dtypes_follow_the_first(tmp_path):
    dtypes = [torch.bfloat16, torch.float16, torch.float32]
    states = [{"w": torch.tensor([1.0, 2.0, 3.0]).mul(k + 1).to(d)} for k, d in enumerate(dtypes)]
    paths = [save(s, tmp_path / f"{k}.safetensors") for k, s in enumerate(states)]
    report = merge_checkpoints(paths, tmp_path / "out.safetensors", Uniform())
    assert_equal(read_checkpoint(report.out), {"w": torch.tensor([2.0, 4.0, 6.0]).to(torch.bfloat16)})
    (note,) = report.notes
    assert f"'w': bfloat16 in {paths[0]}, float16 in {paths[1]}, float32 in {paths[2]}" in note
    assert "The result has the dtype of the first" in note


def test_counters_become_the_largest_and_those_that_differ_are_told(tmp_path):
    paths, _, _, _ = inputs(tmp_path, make=lambda seed, _: {"n": torch.tensor(seed), "w": torch.ones(1)})
    report = merge_checkpoints(paths, tmp_path / "out.safetensors", Uniform())
    assert read_checkpoint(report.out)["n"].item() == 3
    assert any("'n': integers that differ. The largest values were taken" in note for note in report.notes)


def test_arrays_of_integers_that_differ_are_refused_as_in_memory(tmp_path):
    paths, _, states, _ = inputs(tmp_path, make=lambda seed, _: {"ids": torch.tensor([seed, 5]), "w": torch.ones(1)})
    with pytest.raises(ValueError, match=r"Tensor 'ids' holds integers, .*1.pt. .*--head ids"):
        merge_checkpoints(paths, tmp_path / "out.safetensors", Uniform())
    with pytest.raises(ValueError, match="Tensor 'ids' holds integers"):
        Uniform()(states)
    report = merge_checkpoints(paths, tmp_path / "out.safetensors", Uniform(), heads=["ids"])
    assert torch.equal(read_checkpoint(report.out)["ids"], states[0]["ids"])


def test_statistics_of_batchnorm_are_told(tmp_path):
    paths, _, _, _ = inputs(tmp_path)
    report = merge_checkpoints(paths, tmp_path / "out.safetensors", Uniform())
    assert any("2 statistics of BatchNorm" in n and "skfusion.repair.Recalibrate" in n for n in report.notes)
    assert not any("num_batches_tracked" in note for note in report.notes)


def test_variances_that_are_negative_are_told(tmp_path, small_parts):
    def make(seed, _):
        return {"n.running_mean": torch.tensor([-1.0]), "n.running_var": torch.tensor([1.0, 1.0, 1.0, 1.0 + seed])}

    paths, start, _, _ = inputs(tmp_path, make=make)
    report = merge_checkpoints(paths, tmp_path / "out.safetensors", TaskArithmetic(1.0), base=start)
    assert read_checkpoint(report.out)["n.running_var"].tolist() == [1.0, 1.0, 1.0, -1.0]
    assert [n for n in report.notes if "negative" in n] == [
        "'n.running_var': negative variances, whose roots are NaN. Estimate the statistics again on data, with "
        "skfusion.repair.Recalibrate, before the network is used."
    ]
    report = merge_checkpoints(paths, tmp_path / "mean.safetensors", Uniform())
    assert not any("negative" in note for note in report.notes)


# Ties and heads.


def test_a_tie_that_one_file_stores_once(tmp_path):
    paths, _, states, _ = inputs(tmp_path)
    once = {n: t for n, t in network(9).items() if n != "again"}
    save(once, tmp_path / "once.safetensors")
    report = merge_checkpoints([*paths, tmp_path / "once.safetensors"], tmp_path / "out.safetensors", Uniform())
    assert_equal(read_checkpoint(report.out), Uniform()([*states, network(9)]))
    assert any("lacks 'again', which is tied to 'tied' in the others" in note for note in report.notes)


def test_a_tie_of_some_only_is_none(tmp_path):
    apart = network(9) | {"again": torch.full((5, 3), 2.0)}
    paths, _, states, _ = inputs(tmp_path, 1)
    report = merge_checkpoints([*paths, save(apart, tmp_path / "apart.pt")], tmp_path / "out.safetensors", Uniform())
    assert_equal(read_checkpoint(report.out), Uniform()([*states, apart]))


def test_a_missing_tensor_is_no_tie_where_one_file_has_it_apart(tmp_path):
    paths, _, _, _ = inputs(tmp_path, 1)
    apart = save(network(8) | {"again": torch.full((5, 3), 2.0)}, tmp_path / "apart.pt")
    lacks = save({n: t for n, t in network(9).items() if n != "again"}, tmp_path / "lacks.pt")
    message = refused([*paths, apart, lacks], tmp_path / "out.safetensors")
    assert "One tensor is not the same" in message
    assert f"'again' ((5, 3) in {paths[0]} and {apart}, missing in {lacks})" in message


def test_heads_are_those_of_the_first(tmp_path):
    paths, _, states, _ = inputs(tmp_path, make=plain)
    report = merge_checkpoints(paths, tmp_path / "out.safetensors", Uniform(), heads=["head"])
    found = read_checkpoint(report.out)
    assert torch.equal(found["head.w"], states[0]["head.w"])
    assert torch.equal(found["body.w"], Uniform()(states)["body.w"])
    assert {t.name: t.action for t in report.plan} == {"body.w": "merged", "head.w": f"copied from {paths[0]}"}
    assert any(note.startswith(f"'head.w': not merged, taken from {paths[0]}") for note in report.notes)
    assert report.card["not_merged"] == ["head.w"]


def test_heads_that_are_unlike_are_listed_or_kept(tmp_path):
    body = {"body.b": torch.ones(1)}
    a, b = plain(1) | body, plain(2) | body | {"head.w": torch.ones(7), "extra": torch.ones(1)}
    paths = [save(s, tmp_path / f"{k}.pt") for k, s in enumerate((a, b))]
    message = refused(paths, tmp_path / "out.safetensors")
    assert "2 tensors are not the same" in message
    assert f"'head.w' ((4,) in {paths[0]}, (7,) in {paths[1]})" in message
    assert f"'extra' (missing in {paths[0]}, (1,) in {paths[1]})" in message
    assert "keep_heads=True (--keep-heads)" in message
    report = merge_checkpoints(paths, tmp_path / "out.safetensors", Uniform(), keep_heads=True)
    found = read_checkpoint(report.out)
    assert {*found} == {"body.w", "body.b", "head.w"}
    assert torch.equal(found["head.w"], a["head.w"])
    assert any(note.startswith("'extra': left out") for note in report.notes)
    assert not any(note.startswith("Only") for note in report.notes)


def test_checkpoints_that_are_alike_are_told_together(tmp_path):
    states = [{"body.w": torch.ones(4), "head.w": torch.ones(7 if k == 4 else 3)} for k in range(6)]
    paths = [save(s, tmp_path / f"{k}.pt") for k, s in enumerate(states)]
    message = refused(paths, tmp_path / "out.safetensors")
    assert f"'head.w' ((3,) in {paths[0]}, {paths[1]} and 3 more, (7,) in {paths[4]}). If they are heads" in message


def test_unlike_architectures_are_not_taken_for_heads(tmp_path):
    def make(width):
        return {"stem": torch.ones(4)} | {f"layer.{k}": torch.ones(width) for k in range(4)}

    paths = [save(make(width), tmp_path / f"{width}.pt") for width in (9, 5)]
    message = refused(paths, tmp_path / "out.safetensors")
    assert "Only one tensor is shared by all: these are different architectures, or one of different widths" in message
    assert "keep_heads" not in message
    notes = merge_checkpoints(paths, tmp_path / "out.safetensors", Uniform(), keep_heads=True).notes
    assert f"Only 1 of 5 tensors are merged, 10% of the numbers; the rest is that of {paths[0]} as it was." in notes


def test_the_prefix_of_data_parallel_is_taken_off_where_others_lack_it(tmp_path):
    states = [plain(k) for k in range(3)]
    wrapped = [{f"module.{n}": t for n, t in s.items()} for s in states]
    some = [save(s, tmp_path / f"{k}.pt") for k, s in enumerate([wrapped[0], states[1], wrapped[2]])]
    report = merge_checkpoints(some, tmp_path / "some.safetensors", Uniform())
    assert_equal(read_checkpoint(report.out), Uniform()(states))
    told = "the prefix module. of DataParallel is taken off, as others lack it."
    assert report.notes == (f"{some[0]}: {told}", f"{some[2]}: {told}")
    report = merge_checkpoints([some[0], some[2]], tmp_path / "all.safetensors", Uniform())
    assert_equal(read_checkpoint(report.out), Uniform()([wrapped[0], wrapped[2]]))
    assert not report.notes


def test_many_names_that_differ_are_counted(tmp_path):
    paths = [save({f"{p}.{i}": torch.ones(1) for i in range(9)}, tmp_path / f"{p}.pt") for p in "ab"]
    message = refused(paths, tmp_path / "out.safetensors", keep_heads=True)
    assert "18 tensors are not the same" in message
    assert "and 8 more. No tensor is shared by all" in message


def test_a_head_that_no_tensor_has(tmp_path):
    paths, _, _, _ = inputs(tmp_path)
    assert "No tensor belongs to the head 'hed'" in refused(paths, tmp_path / "out.safetensors", heads=["hed"])


# The card, the plan, the progress.


def test_the_card_tells_what_was_merged(tmp_path):
    paths, start, _, _ = inputs(tmp_path, kind="safetensors")
    report = merge_checkpoints(paths, tmp_path / "out.safetensors", TIES(density=0.5), base=start)
    with safetensors.safe_open(report.out, framework="pt") as file:
        card = json.loads(file.metadata()[CARD])
        assert file.metadata()["format"] == "pt"
    assert card == report.card
    assert (card["library"], card["version"]) == ("skfusion", skfusion.__version__)
    grid = card["parameters"].pop("grid")
    assert grid == [*TIES().grid]
    assert (card["method"], card["parameters"]) == ("TIES", {"density": 0.5, "scale": 1.0, "weights": None})
    assert card["merge"] == "TIES(density=0.5)"

    def told(path):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        return {"name": path.name, "files": [{"name": path.name, "sha256": digest}]}

    assert card["inputs"] == [told(path) for path in paths]
    assert card["base"] == told(start)


def test_the_card_of_a_nested_merger(tmp_path):
    paths, start, _, _ = inputs(tmp_path)
    merge = DARE(0.5, TIES(1.0), random_state=3)
    card = merge_checkpoints(paths, tmp_path / "out.safetensors", merge, base=start).card
    assert card["parameters"]["merge__density"] == 1.0
    assert card["parameters"]["merge"] == repr(TIES(1.0))


def test_equal_inputs_give_equal_files(tmp_path):
    written = []
    for name in "xy":
        (tmp_path / name).mkdir()
        paths, start, _, _ = inputs(tmp_path / name, kind="safetensors")
        merge_checkpoints(paths, tmp_path / name / "out.safetensors", TIES(), base=start)
        written.append((tmp_path / name / "out.safetensors").read_bytes())
    assert written[0] == written[1]


def test_a_dry_run_tells_the_plan_and_writes_nothing(tmp_path):
    paths, start, _, _ = inputs(tmp_path)
    out = tmp_path / "out.safetensors"
    before = sorted(tmp_path.iterdir())
    planned = merge_checkpoints(paths, out, TIES(), base=start, dry_run=True)
    assert sorted(tmp_path.iterdir()) == before
    done = merge_checkpoints(paths, out, TIES(), base=start)
    assert planned.n_bytes == done.n_bytes == out.stat().st_size
    assert planned.plan == done.plan
    assert [t.name for t in done.plan] == [*network(1)]
    actions = {t.name: t.action for t in done.plan}
    assert actions["again"] == "tied to tied"
    assert actions["bn.running_var"] == "mean"
    assert actions["bn.num_batches_tracked"] == "largest value"
    assert actions["z.weight"] == "merged"
    assert {f["sha256"] for c in planned.card["inputs"] for f in c["files"]} == {"0" * 64}


def test_a_dry_run_refuses_what_the_merge_would(tmp_path):
    paths, start, _, _ = inputs(tmp_path)
    for merge, expected in [(Uniform([1, 2]), "2 weights for 3 members"), (TIES(0), "density of TIES")]:
        assert expected in refused(paths, tmp_path / "out.safetensors", merge, base=start, dry_run=True)


@pytest.mark.parametrize("merge", [Uniform(), TIES(), ModelStock(), DARE(0.5), DARE(0.5, TIES())], ids=repr)
def test_progress_grows_to_all_bytes_of_all_passes(tmp_path, merge, small_parts):
    paths, start, _, _ = inputs(tmp_path)
    told = []
    report = merge_checkpoints(
        paths, tmp_path / "out.safetensors", merge, base=start, progress=lambda *words: told.append(words)
    )
    reading = [words for words in told if words[0] in ("Surveying", "Merging")]
    surveys = [words for words in reading if words[0] == "Surveying"]
    assert bool(surveys) == ("TIES" in repr(merge))
    assert len({total for _, _, total in reading}) == 1  # so that a bar never goes back
    assert [done for _, done, _ in reading] == sorted(done for _, done, _ in reading)
    total = reading[-1][2]
    assert reading[-1][1] == total
    assert total == report.read_bytes + (surveys[-1][1] if surveys else 0)


def test_progress_of_a_survey_that_is_shorter_or_longer_than_others(tmp_path, small_parts, monkeypatch):
    paths, start, _, _ = inputs(tmp_path)
    for usual in (0, 1, 5):
        monkeypatch.setattr(TIES, "n_surveys", lambda self, size, usual=usual: usual)
        told = []
        merge_checkpoints(
            paths,
            tmp_path / f"{usual}.safetensors",
            TIES(),
            base=start,
            progress=lambda *words, told=told: told.append(words[1:]),
        )
        assert all(done <= total for done, total in told)
        assert any(done == total for done, total in told)


def test_one_that_is_slow_to_hash_is_waited_for(tmp_path, monkeypatch):
    slow = hashlib.sha256

    def sha256():
        time.sleep(0.3)
        return slow()

    monkeypatch.setattr(_archive.hashlib, "sha256", sha256)
    paths, _, _, _ = inputs(tmp_path)
    told = []
    report = merge_checkpoints(
        paths, tmp_path / "out.safetensors", Uniform(), progress=lambda *words: told.append(words)
    )
    assert any(what == "Hashing the inputs" for what, _, _ in told)
    assert all(f["sha256"] != "0" * 64 for c in report.card["inputs"] for f in c["files"])


class Unhashed:
    """Takes the place of a hash that nothing may be added to."""

    def update(self, block):
        raise AssertionError("A file was hashed.")

    def hexdigest(self):
        return ""


@pytest.mark.parametrize("kind", ["pt", "safetensors", "shards"])
def test_hashes_that_are_left_out_are_null_and_nothing_is_hashed(tmp_path, monkeypatch, kind):
    paths, _, states, _ = inputs(tmp_path, kind=kind)
    monkeypatch.setattr(_archive.hashlib, "sha256", Unhashed)
    out = tmp_path / "out.safetensors"
    planned = merge_checkpoints(paths, out, Uniform(), hashes=False, dry_run=True)
    report = merge_checkpoints(paths, out, Uniform(), hashes=False)
    with safetensors.safe_open(out, framework="pt") as file:
        card = json.loads(file.metadata()[CARD])
    assert card == report.card == planned.card
    assert {f["sha256"] for c in card["inputs"] for f in c["files"]} == {None}
    assert "The model card has no hashes of the checkpoints, as they were left out." in report.notes
    assert_equal(read_checkpoint(out), Uniform()([read_checkpoint(path) for path in paths]))
    assert out.stat().st_size == planned.n_bytes
    assert len(states) == len(card["inputs"])


def test_files_are_read_once_more_for_hashes_only(tmp_path, monkeypatch):
    read = []
    blocks = _archive.checked_blocks
    monkeypatch.setattr(_archive, "checked_blocks", lambda path: read.append(path) or blocks(path))
    paths, _, _, _ = inputs(tmp_path, kind="safetensors")
    merge_checkpoints(paths, tmp_path / "a.safetensors", Uniform(), hashes=False)
    assert read == []
    merge_checkpoints(paths, tmp_path / "b.safetensors", Uniform())
    assert sorted(read) == paths


def test_check_sums_are_compared_without_hashes_too(tmp_path):
    paths, _, _, _ = inputs(tmp_path)
    content = bytearray(paths[1].read_bytes())
    place = content.index(read_checkpoint(paths[1])["z.weight"].numpy().tobytes())
    content[place] ^= 1
    paths[1].write_bytes(content)
    assert "check sum" in refused(paths, tmp_path / "out.safetensors", hashes=False)


def test_a_file_that_changes_is_noticed_without_hashes_too(tmp_path):
    paths, _, _, _ = inputs(tmp_path, kind="safetensors")

    def touch(*words):
        os.utime(paths[0], ns=(1, 1))

    assert "was changed while it was read" in refused(paths, tmp_path / "out.safetensors", hashes=False, progress=touch)


# Threads and the disk.


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("fails", [False, True])
def test_torch_has_one_thread_meanwhile_and_as_many_as_before_afterwards(tmp_path, threads, fails):
    during = []

    def progress(*words):
        during.append(torch.get_num_threads())
        if fails:
            raise RuntimeError("stop")

    paths, start, _, _ = inputs(tmp_path)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for merge in (Uniform(), TIES()):
            with pytest.raises(RuntimeError) if fails else nullcontext():
                merge_checkpoints(paths, tmp_path / f"{merge}.safetensors", merge, base=start, progress=progress)
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert {*during} == {1}


def test_what_is_written_is_handed_to_the_disk_in_pieces_and_once(tmp_path, monkeypatch):
    handed = []
    monkeypatch.setattr(_replacing, "_AT_ONCE", 100)
    monkeypatch.setattr(os, "posix_fadvise", lambda file, start, n, advice: handed.append((start, n)), raising=False)
    monkeypatch.setattr(os, "POSIX_FADV_DONTNEED", 4, raising=False)
    paths, _, states, _ = inputs(tmp_path)
    report = merge_checkpoints(paths, tmp_path / "out.safetensors", Uniform())
    assert len(handed) > 1
    assert handed[0][0] == 0
    assert all(start + n == after for (start, n), (after, _) in pairwise(handed))
    assert all(n >= 100 for _, n in handed)
    assert sum(n for _, n in handed) <= report.n_bytes
    assert_equal(read_checkpoint(report.out), Uniform()(states))


def test_systems_that_cannot_be_advised_write_at_the_end(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "posix_fadvise", raising=False)
    monkeypatch.setattr(_replacing, "_AT_ONCE", 1)
    paths, _, states, _ = inputs(tmp_path)
    report = merge_checkpoints(paths, tmp_path / "out.safetensors", Uniform())
    assert_equal(read_checkpoint(report.out), Uniform()(states))


# Sums.


@pytest.mark.parametrize("weights", [[1, 0, 2], [0, 1, 1], [1, 1, 0]], ids=str)
@pytest.mark.parametrize("bad", [0, 1, 2])
def test_nan_is_found_in_members_that_are_not_added_too(tmp_path, weights, bad, small_parts):
    states = [{"w": torch.ones(8)} for _ in range(3)]
    states[bad]["w"][6] = float("nan")
    paths = [save(s, tmp_path / f"{k}.safetensors") for k, s in enumerate(states)]
    message = refused(paths, tmp_path / "out.safetensors", Uniform(weights))
    assert f"Tensor 'w' of {paths[bad]} holds NaN or infinity" in message


def test_infinities_of_both_signs_do_not_cancel(tmp_path):
    inf = float("inf")
    paths = [save({"w": torch.tensor([1.0, x])}, tmp_path / f"{k}.pt") for k, x in enumerate([1.0, inf, -inf])]
    assert f"Tensor 'w' of {paths[1]} holds NaN or infinity" in refused(paths, tmp_path / "out.safetensors")


def test_signs_of_zero_are_those_of_the_merger_in_memory(tmp_path, small_parts):
    zeros = torch.tensor([0.0, -0.0, 1e-40, -1e-40, -1.0, 1.0, -0.0])
    states = [{"w": zeros}, {"w": -zeros}, {"w": zeros.roll(1)}]
    paths = [save(s, tmp_path / f"{k}.safetensors") for k, s in enumerate(states)]
    for weights in (None, [1, 0, 0], [1, 1, 0], [1, 2, 3]):
        report = merge_checkpoints(paths, tmp_path / "out.safetensors", Uniform(weights), overwrite=True)
        expected = Uniform(weights)(states)["w"]
        assert bytes(data_of(read_checkpoint(report.out)["w"])) == bytes(data_of(expected))


def test_parts_of_sums_are_as_large_for_many_members_and_as_many(tmp_path, monkeypatch):
    added = []
    add = _merge_stream.sum_of
    monkeypatch.setattr(_merge_stream, "sum_of", lambda pieces, *rest: added.append(pieces) or add(pieces, *rest))
    monkeypatch.setattr(_merge_stream, "_SMALLEST_PART", 4)
    monkeypatch.setattr(_merge_stream, "_LARGEST_PART", 8)
    monkeypatch.setattr(_merge_stream, "_AT_HAND", 16)
    for n in (2, 9):
        paths = [save({"w": torch.full((32,), float(k))}, tmp_path / f"{n}-{k}.safetensors") for k in range(n)]
        added.clear()
        merge_checkpoints(paths, tmp_path / f"{n}.safetensors", Uniform())
        assert [len(pieces) for pieces in added] == [n] * 4
        assert {piece.numel() for pieces in added for piece in pieces} == {8}


# Memory.


MEASURE = """
import sys
from pathlib import Path
from skfusion.merge import TIES, Uniform
from skfusion.checkpoints import merge_checkpoints

def anonymous():
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("RssAnon")).split()[1]) / 1024

seen = [anonymous()]
*paths, base, out = sys.argv[1:]
merge_checkpoints(paths, out, Uniform(), progress=lambda *words: seen.append(anonymous()))
print(max(seen) - seen[0])
"""


@LINUX
@pytest.mark.parametrize("kind", ["safetensors", "pt"])
def test_memory_is_that_of_parts(tmp_path, kind):
    paths = [save({"w": torch.full((2**23,), float(k))}, tmp_path / f"{k}.{kind}") for k in range(5)]  # 32 MiB each
    words = [sys.executable, "-c", MEASURE, *paths, tmp_path / "out.safetensors"]
    found = subprocess.run(words, check=True, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert float(found.stdout) < 24
    assert read_checkpoint(tmp_path / "out.safetensors")["w"].unique().tolist() == [1.5]


# What cannot be merged.


@pytest.mark.parametrize("merge", [m for m in ALL if m not in ON_DISK], ids=repr)
def test_mergers_that_need_data_or_whole_networks_are_refused(tmp_path, merge):
    paths, start, _, _ = inputs(tmp_path)
    error = ValueError if merge.needs_objective else TypeError
    message = refused(paths, tmp_path / "out.safetensors", merge, error, base=start)
    assert repr(merge) in message


def test_a_merger_that_needs_data_is_shown_the_way():
    with pytest.raises(ValueError, match=r"SoupClassifier\(net, collect=pool, merge=Greedy\(\)\)"):
        merge_checkpoints(["a.pt"], "out.safetensors", Greedy())


@pytest.mark.parametrize("merge", ["ties", TIES, None])
def test_what_is_no_merger(merge):
    with pytest.raises(TypeError, match=r"merge must be a merger such as Uniform\(\) or TIES\(\)"):
        merge_checkpoints(["a.pt"], "out.safetensors", merge)


@pytest.mark.parametrize("merge", [m for m in ON_DISK if m.needs_base], ids=repr)
def test_a_base_that_is_needed(tmp_path, merge):
    paths, _, _, _ = inputs(tmp_path)
    message = refused(paths, tmp_path / "out.safetensors", merge)
    assert f"{type(merge).__name__} needs the common start of the checkpoints" in message
    assert "base=... (--base on the command line)" in message


def test_a_base_that_is_not_needed_is_noted(tmp_path):
    paths, start, _, _ = inputs(tmp_path)
    report = merge_checkpoints(paths, tmp_path / "out.safetensors", Uniform(), base=start)
    assert f"{start} is not read: Uniform does not use the base." in report.notes
    assert report.base is None
    assert report.card["base"] is None


def test_no_checkpoints(tmp_path):
    assert "give one path at least" in refused([], tmp_path / "out.safetensors")


@pytest.mark.parametrize("weights", [[1, 2], [1, -1, 1], [1, math.nan, 1], [0, 0, 0], [1, math.inf, 1]])
@pytest.mark.parametrize("kind", [Uniform, Slerp])
def test_weights_that_are_none(tmp_path, kind, weights):
    paths, _, _, _ = inputs(tmp_path)
    assert "eights" in refused(paths, tmp_path / "out.safetensors", kind(weights))


def test_a_weight_of_zero_leaves_a_member_out(tmp_path):
    paths, _, states, _ = inputs(tmp_path)
    merge_checkpoints(paths, tmp_path / "out.safetensors", Uniform([1, 0, 1]))
    assert_equal(read_checkpoint(tmp_path / "out.safetensors"), Uniform()([states[0], states[2]]))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["z.weight", "bn.running_var", "scalar", "a.weight"])
@pytest.mark.parametrize("merge", [Uniform(), Uniform([1, 0, 1]), TIES(), Breadcrumbs()], ids=repr)
def test_nan_is_named_with_its_file(tmp_path, merge, name, value, small_parts):
    paths, start, states, _ = inputs(tmp_path)
    states[1][name][(-1,) * states[1][name].ndim] = value
    save(states[1], paths[1])
    message = refused(paths, tmp_path / "out.safetensors", merge, base=start)
    assert f"Tensor {name!r} of {paths[1]} holds NaN or infinity" in message
    assert not (tmp_path / "out.safetensors").exists()


def test_nan_in_the_base_and_in_a_head(tmp_path):
    paths, start, _, base = inputs(tmp_path, make=plain)
    base["body.w"][0] = math.nan
    save(base, start)
    message = refused(paths, tmp_path / "out.safetensors", TIES(), base=start)
    assert f"Tensor 'body.w' of {start} holds NaN" in message
    bad = plain(1) | {"head.w": torch.full((4,), math.nan)}
    save(bad, paths[0])
    message = refused(paths, tmp_path / "out.safetensors", heads=["head"])
    assert f"Tensor 'head.w' of {paths[0]} holds NaN" in message


@pytest.mark.parametrize(
    "merge",
    [TaskArithmetic(None), Interpolate(None), TIES(scale=None), DARE(merge=TIES(scale=None)), Greedy(), Fisher()],
)
def test_a_number_is_asked_for_only_where_one_helps(tmp_path, merge):
    paths, start, _, _ = inputs(tmp_path, make=plain)
    message = refused(paths, tmp_path / "out.safetensors", merge, base=start)
    assert f"Merge with data: SoupClassifier(net, collect=pool, merge={merge!r})" in message
    number = {"TaskArithmetic": "scale", "Interpolate": "t", "TIES": "scale", "DARE": "merge__scale"}
    name = number.get(type(merge).__name__)
    assert message.endswith(f"; or give a number for {name}." if name else ").")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_result_that_is_too_large_for_its_dtype(tmp_path, dtype):
    largest = torch.finfo(dtype).max
    paths, start, _, _ = inputs(tmp_path, make=lambda seed, _: {"w": torch.tensor([largest * (seed < 4)]).to(dtype)})
    merge_checkpoints(paths, tmp_path / "mean.safetensors", Uniform())
    assert read_checkpoint(tmp_path / "mean.safetensors")["w"].tolist() == [largest]
    message = refused(paths, tmp_path / "out.safetensors", TaskArithmetic(1.0), base=start)
    assert "The merged tensor 'w' reaches" in message
    assert str(dtype) in message
    assert "wider dtype" in message


def test_a_result_that_is_too_large_for_double_precision(tmp_path):
    def make(seed, _):
        return {"w": torch.tensor([1e308 * (seed < 4)], dtype=torch.float64)}

    paths, start, _, _ = inputs(tmp_path, make=make)
    message = refused(paths, tmp_path / "out.safetensors", TaskArithmetic(1.0), base=start)
    assert "The merged tensor 'w' reaches inf, and torch.float64 ends at 1.8e+308" in message


def test_kinds_of_numbers_that_cannot_be_mixed(tmp_path):
    a, b = save({"w": torch.ones(2)}, tmp_path / "a.pt"), save({"w": torch.ones(2).long()}, tmp_path / "b.pt")
    message = refused([a, b], tmp_path / "out.safetensors")
    assert f"Tensor 'w' is torch.float32 in {a} and torch.int64 in {b}" in message
    assert "heads=[...] (--head)" in message


def test_dtypes_that_no_safetensors_file_holds(tmp_path):
    a = save({"w": torch.ones(2, dtype=torch.complex128)}, tmp_path / "a.pt")
    assert "Tensor 'w' of dtype torch.complex128 cannot be written" in refused([a, a], tmp_path / "out.safetensors")


@pytest.mark.parametrize("kind", ["safetensors", "pt"])
def test_a_damaged_file_among_whole_ones(tmp_path, kind):
    paths, _, _, _ = inputs(tmp_path, kind=kind)
    paths[1].write_bytes(paths[1].read_bytes()[:-40])
    message = refused(paths, tmp_path / "out.safetensors")
    assert f"{paths[1]} is damaged" in message
    assert ("Tensor '" in message) == (kind == "safetensors")  # the table of a .pt file is at its end, and lost


# The result is whole, or not there.


def test_what_is_there_is_replaced_only_where_asked(tmp_path):
    paths, _, states, _ = inputs(tmp_path)
    out = tmp_path / "out.safetensors"
    out.write_text("old")
    assert "is there already" in refused(paths, out, error=FileExistsError)
    assert out.read_text() == "old"
    merge_checkpoints(paths, out, Uniform(), overwrite=True)
    assert_equal(read_checkpoint(out), Uniform()(states))
    (tmp_path / "folder.safetensors").mkdir()
    refused(paths, tmp_path / "folder.safetensors", error=FileExistsError, overwrite=True)


@pytest.mark.parametrize("link", [None, os.link, os.symlink], ids=str)
def test_an_input_is_never_overwritten(tmp_path, link):
    paths, start, _, _ = inputs(tmp_path, kind="safetensors")
    for path in (paths[1], start):
        out = path if link is None else tmp_path / f"link-{path.name}"
        if link is not None:
            link(path, out)
        before = path.read_bytes()
        message = refused(paths, out, base=start, overwrite=True)
        assert f"is the input {path}, which is never overwritten" in message
        assert path.read_bytes() == before


def test_a_shard_is_never_overwritten(tmp_path):
    paths, _, _, _ = inputs(tmp_path, kind="shards")
    out = paths[0] / "1.safetensors"
    assert "never overwritten" in refused(paths, out, overwrite=True)


def test_places_that_cannot_be_written(tmp_path):
    paths, _, _, _ = inputs(tmp_path)
    assert "call it 'out.safetensors', not 'out.pt'" in refused(paths, tmp_path / "out.pt")
    with pytest.raises(FileNotFoundError, match="does not exist. Make it first"):
        merge_checkpoints(paths, tmp_path / "none" / "out.safetensors", Uniform())


def test_a_disk_that_is_too_small_is_told_before(tmp_path, monkeypatch):
    paths, _, _, _ = inputs(tmp_path)
    monkeypatch.setattr(_merge_files.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 10}))
    message = refused(paths, tmp_path / "out.safetensors", error=OSError)
    assert "and the disk of" in message
    assert "has 10 left" in message


def test_a_disk_that_fills_up_leaves_what_was_there(tmp_path):
    resource = pytest.importorskip("resource")
    make = lambda seed, _: {"w": torch.full((2**16,), float(seed))}  # noqa: E731
    paths, _, _, _ = inputs(tmp_path, make=make)
    out = tmp_path / "out.safetensors"
    out.write_text("old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, hard))
    try:
        with pytest.raises(OSError, match="File too large") as caught:
            merge_checkpoints(paths, out, Uniform(), overwrite=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert caught.value.errno == errno.EFBIG
    assert f"to write {out}. Nothing is left of it" in str(caught.value)
    assert out.read_text() == "old"
    assert not [*tmp_path.glob(".*")]


def test_an_interruption_leaves_nothing(tmp_path, small_parts):
    paths, _, _, _ = inputs(tmp_path)
    before = sorted(tmp_path.iterdir())

    def interrupt(what, done, total):
        if done > total / 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        merge_checkpoints(paths, tmp_path / "out.safetensors", Uniform(), progress=interrupt)
    assert sorted(tmp_path.iterdir()) == before


def test_a_process_that_is_killed_leaves_no_half_file(tmp_path):
    paths, _, _, _ = inputs(tmp_path, make=lambda seed, _: {"w": torch.ones(2**20)})
    out = tmp_path / "out.safetensors"
    code = textwrap.dedent("""
        import os, signal, sys
        from skfusion.merge import Uniform
        from skfusion.checkpoints import merge_checkpoints
        def kill(what, done, total):
            if done > total / 2:
                os.kill(os.getpid(), signal.SIGKILL)
        merge_checkpoints(sys.argv[2:], sys.argv[1], Uniform(), progress=kill)
    """)
    found = subprocess.run([sys.executable, "-c", code, out, *paths], check=False, capture_output=True, text=True)
    assert found.returncode == -signal.SIGKILL, found.stderr
    assert not out.exists()
    merge_checkpoints(paths, out, Uniform())
    assert read_checkpoint(out)["w"].unique().tolist() == [1]


def test_an_input_that_changes_meanwhile_voids_the_result(tmp_path):
    paths, _, _, _ = inputs(tmp_path)

    def touch(what, done, total):
        os.utime(paths[1], ns=(1, done))

    message = refused(paths, tmp_path / "out.safetensors", progress=touch)
    assert f"{paths[1]} was changed while it was read, so the result is void" in message
    assert not (tmp_path / "out.safetensors").exists()


def test_a_network_of_torch_is_loaded_from_it(tmp_path):
    torch.manual_seed(0)
    nets = [nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)) for _ in range(2)]
    paths = [save(net.state_dict(), tmp_path / f"{k}.pt") for k, net in enumerate(nets)]
    merge_checkpoints(paths, tmp_path / "out.safetensors", Uniform())
    nets[0].load_state_dict(read_checkpoint(tmp_path / "out.safetensors"))
    torch.testing.assert_close(nets[0][0].weight, Uniform()([read_checkpoint(p) for p in paths])["0.weight"])


def test_data_of_all_dtypes_are_aligned(tmp_path):
    content = {"a": torch.ones(3).half(), "b": torch.ones(3).bool(), "c": torch.ones(3).double(), "d": torch.ones(5)}
    paths = [save(content, tmp_path / "a.pt")]
    merge_checkpoints(paths, tmp_path / "out.safetensors", Uniform())
    data = (tmp_path / "out.safetensors").read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    assert length % 8 == 0
    assert all(header[name]["data_offsets"][0] % t.element_size() == 0 for name, t in content.items())
    assert_equal(read_checkpoint(tmp_path / "out.safetensors"), content)
