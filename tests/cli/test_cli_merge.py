"""The command ``skfusion merge``: it merges files, shows its plan, and says what is wrong."""

import inspect
import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest
import safetensors
import safetensors.torch
import torch
from typer.testing import CliRunner

from skfusion.checkpoints import read_checkpoint
from skfusion.cli import app
from skfusion.cli._console import in_bytes
from skfusion.cli._merge import METHODS, merger_of
from skfusion.cli.commands._merge import merge
from skfusion.merge import DARE, TIES, LinearMerger, Merger, Slerp, TaskArithmetic, TensorMerger, Uniform
from skfusion.pool import Member, ModelPool
from skfusion.testing import discover

VALUES = {"weights": "1,2,3", "scale": 0.7, "t": 0.25, "density": 0.4, "gamma": 0.1, "rate": 0.3, "seed": 5}
VALUES |= {"decay": "cosine", "sigma": 0.12, "time": 4.0, "profiles": "0.05@4,0.1@4,0.2@4"}


def run(*words, code=0):
    result = CliRunner().invoke(app, ["merge", *(str(word) for word in words)], env={"COLUMNS": "200"})
    assert result.exit_code == code, result.output
    return " ".join(result.output.split())


def network(seed):
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(4, 3, generator=generator) for name in ("body.weight", "head.weight")}


@pytest.fixture
def files(tmp_path):
    """Three checkpoints, and their start at the end."""
    paths = [tmp_path / f"{k}.safetensors" for k in range(4)]
    for seed, path in enumerate(paths):
        safetensors.torch.save_file(network(seed), path)
    return paths


def assert_equal(found, expected):
    assert {*found} == {*expected}
    assert all(torch.equal(found[name], t) for name, t in expected.items())


@pytest.mark.parametrize("method", METHODS)
def test_each_method_is_its_merger(files, tmp_path, method):
    options = {name: VALUES[name] for name in METHODS[method][1]}
    *members, start = files
    merger = merger_of(method, options, None)
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    words += ["--base", start] if merger.needs_base else []
    text = run(*members, "-o", tmp_path / "out.safetensors", "--method", method, *words)
    assert f"Wrote {tmp_path / 'out.safetensors'}: 2 tensors" in text
    assert repr(merger) in text
    expected = merger([network(k) for k in range(3)], network(3) if merger.needs_base else None)
    assert_equal(read_checkpoint(tmp_path / "out.safetensors"), expected)


@pytest.mark.parametrize("method", METHODS)
def test_without_options_each_method_has_its_defaults(method):
    assert repr(merger_of(method, {}, None)) == repr(METHODS[method][0]())


def test_every_merger_of_files_has_a_name():
    on_disk = {
        cls
        for cls in discover(Merger)
        if issubclass(cls, LinearMerger | TensorMerger)
        and not all(cls(**p).needs_objective for p in cls._test_params())
    }
    assert {type(kind()) for kind, _ in METHODS.values()} == on_disk


def test_options_reach_the_parameters_they_name():
    found = merger_of("dare", {"rate": 0.5, "scale": 1.0, "seed": 3}, None)
    assert repr(found) == repr(DARE(rate=0.5, merge=TaskArithmetic(scale=1.0), random_state=3))
    assert repr(merger_of("slerp", {"weights": "1, 2.5"}, None)) == repr(Slerp(weights=(1.0, 2.5)))


def test_every_option_of_a_method_is_one_of_the_command():
    known = set(inspect.signature(merge).parameters)
    assert {name for _, options in METHODS.values() for name in options} == set(VALUES) <= known


def test_hashes_can_be_left_out(files, tmp_path):
    out = tmp_path / "out.safetensors"
    text = run(*files[:2], "-o", out, "--no-hash")
    assert "Note: The model card has no hashes of the checkpoints, as they were left out." in text
    with safetensors.safe_open(out, framework="pt") as file:
        card = json.loads(file.metadata()["skfusion_card"])
    assert [f["sha256"] for c in card["inputs"] for f in c["files"]] == [None, None]


def test_a_dry_run_shows_the_plan_and_writes_nothing(files, tmp_path):
    out = tmp_path / "out.safetensors"
    text = run(*files[:3], "-o", out, "--head", "head", "--dry-run")
    assert "body.weight 4 x 3 float32 48 B merged" in text
    assert f"head.weight 4 x 3 float32 48 B copied from {files[0]}" in text
    assert re.search(rf"Would write {out}: 2 tensors, \d\.\d KiB, .* It takes about \d+\.\d MiB of memory", text)
    assert sorted(tmp_path.iterdir()) == files


@pytest.mark.parametrize(
    ("n_bytes", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (2**20 - 1, "1.0 MiB"),
        (5 * 2**30, "5.0 GiB"),
        (2**42, "4096.0 GiB"),
    ],
)
def test_sizes_have_the_unit_that_fits(n_bytes, text):
    assert in_bytes(n_bytes) == text


def test_one_tensor_is_told_as_one(tmp_path):
    safetensors.torch.save_file({"w": torch.ones(2)}, tmp_path / "a.safetensors")
    assert ": 1 tensor, " in run(tmp_path / "a.safetensors", "-o", tmp_path / "out.safetensors")


def test_one_checkpoint_is_not_called_a_merge(files, tmp_path):
    text = run(files[0], "-o", tmp_path / "out.safetensors")
    assert f"Note: {files[0]} is the only checkpoint: there is nothing to merge it with. Give several." in text
    assert "only checkpoint" not in run(*files[:2], "-o", tmp_path / "two.safetensors")


def test_nested_states_are_merged_by_their_key(files, tmp_path):
    paths = [tmp_path / f"{k}.pt" for k in range(2)]
    for k, path in enumerate(paths):
        torch.save({"model_state": network(k), "epoch": k}, path)
    out = tmp_path / "out.safetensors"
    assert "key='model_state' (--key model_state)" in run(*paths, "-o", out, code=2)
    text = run(*paths, files[2], "-o", out, "--key", "model_state")
    assert f"{paths[0]}: its entry 'model_state' is read. The entries epoch are left aside." in text
    assert_equal(read_checkpoint(out), Uniform()([network(k) for k in range(3)]))


def test_a_folder_of_a_training_program_is_one_checkpoint(tmp_path):
    for k in range(2):
        (tmp_path / f"run-{k}").mkdir()
        torch.save(network(k), tmp_path / f"run-{k}" / "pytorch_model.bin")
        for name in ("training_args.bin", "optimizer.pt", "scheduler.pt"):
            torch.save({"lr": 0.1}, tmp_path / f"run-{k}" / name)
    run(tmp_path / "run-0", tmp_path / "run-1", "-o", tmp_path / "out.safetensors")
    assert_equal(read_checkpoint(tmp_path / "out.safetensors"), Uniform()([network(0), network(1)]))


def test_notes_are_shown(files, tmp_path):
    safetensors.torch.save_file({n: t.half() for n, t in network(1).items()}, files[1])
    text = run(*files[:2], "-o", tmp_path / "out.safetensors")
    told = f"float32 in {files[0]}, float16 in {files[1]}. The result has the dtype of the first."
    assert f"Note: 'body.weight', 'head.weight': {told}" in text


def test_a_card_is_in_the_file(files, tmp_path):
    run(*files[:2], "-o", tmp_path / "out.safetensors", "--weights", "1,3")
    with safetensors.safe_open(tmp_path / "out.safetensors", framework="pt") as file:
        card = json.loads(file.metadata()["skfusion_card"])
    assert card["merge"] == "Uniform(weights=(1.0, 3.0))"
    assert [source["name"] for source in card["inputs"]] == ["0.safetensors", "1.safetensors"]


def test_a_pool_stands_for_its_members_and_its_base(tmp_path):
    pool = ModelPool([Member(f"m{k}", network(k)) for k in range(2)], base=network(3))
    pool.save(tmp_path / "pool")
    run(tmp_path / "pool", "-o", tmp_path / "out.safetensors", "--method", "ties", "--density", 0.5)
    assert_equal(read_checkpoint(tmp_path / "out.safetensors"), TIES(0.5)([network(0), network(1)], network(3)))


def test_force_replaces_a_result_and_never_an_input(files, tmp_path):
    out = tmp_path / "out.safetensors"
    run(*files[:2], "-o", out)
    assert "is there already" in run(*files[1:3], "-o", out, code=2)
    run(*files[1:3], "-o", out, "--force")
    assert_equal(read_checkpoint(out), Uniform()([network(1), network(2)]))
    assert "is never overwritten" in run(*files[:2], "-o", files[1], "--force", code=2)
    assert_equal(read_checkpoint(files[1]), network(1))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--method", "tise"], "--method tise is unknown; there are uniform, task-arithmetic"),
        (["--method", "zipit"], "--method zipit: ZipIt asks for a network or for data"),
        (["--method", "ties"], "TIES needs the common start of the checkpoints"),
        (
            ["--method", "ties", "--weights", "1,2"],
            "--weights is not for --method ties, which takes --density, --scale",
        ),
        (["--method", "model-stock", "--t", "0.5"], "which takes no such option. It is for interpolate."),
        (["--weights", "1;2"], "--weights must be numbers with commas between them, such as 1,2,3; got '1;2'"),
        (["--weights", "1,nan"], "must be finite"),
        (["--weights", "1,-2"], "non-negative"),
        (["--weights", "0,0"], "not all zero"),
        (["--weights", "1,2,3"], "3 weights for 2 members"),
        (["--base", "x.pt"], "--base is not for --method uniform, which does not look at it"),
        (["--seed", "-1", "--method", "dare"], "--seed"),
        (["--method", "post-hoc-ema", "--profiles", "0.1"], "--profiles must be a length and a time for each snapshot"),
        (["--method", "post-hoc-ema"], "give profiles=[(sigma, time), ...]"),
        (["--method", "decay", "--decay", "steep"], "decay must be one of 'linear', 'cosine', '1-sqrt'"),
        (["--head", "hed"], "No tensor belongs to the head 'hed'"),
    ],
)
def test_wrong_words(files, tmp_path, words, message):
    out = tmp_path / "out.safetensors"
    assert message in run(*files[:2], "-o", out, *words, code=2)
    assert not out.exists()


def test_wrong_files(files, tmp_path):
    out = tmp_path / "out.safetensors"
    text = run(files[0], tmp_path / "none.pt", "-o", out, code=2)
    assert f"{tmp_path / 'none.pt'}: No such file or directory." in text
    assert "call it 'out.safetensors', not 'out.bin'" in run(*files, "-o", tmp_path / "out.bin", code=2)
    assert "The folder" in run(*files, "-o", tmp_path / "none" / "out.safetensors", code=2)
    files[1].write_bytes(files[1].read_bytes()[:-4])
    text = run(*files, "-o", out, code=2)
    assert f"{files[1]} is damaged" in text
    assert "Tensor 'head.weight' ends at byte" in text
    assert "Missing argument" in run("-o", out, code=2)


@pytest.mark.parametrize(
    ("words", "given"), [(("1", "2", "3"), "1,2,3"), (("0.5,", "2e-1,", "3"), "0.5,2e-1,3"), (("1", "2,3"), "1,2,3")]
)
def test_weights_with_spaces_between_them(files, tmp_path, words, given):
    message = run(*files[:3], "-o", tmp_path / "out.safetensors", "--weights", *words, code=2)
    assert message.endswith(f"Weights have commas between them: --weights {given}")


def test_a_file_may_be_called_by_a_number(files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files[0].rename("7")
    run("7", files[1], "-o", "out.safetensors", "--weights", "1,3")
    assert_equal(read_checkpoint("out.safetensors"), Uniform((1.0, 3.0))([network(0), network(1)]))
    assert "5: No such file or directory." in run("7", "5", "-o", "new.safetensors", code=2)


def test_heads_of_unlike_tasks(files, tmp_path):
    safetensors.torch.save_file(network(1) | {"head.weight": torch.ones(7, 3)}, files[1])
    out = tmp_path / "out.safetensors"
    assert "keep_heads=True (--keep-heads)" in run(*files[:2], "-o", out, code=2)
    run(*files[:2], "-o", out, "--keep-heads")
    assert torch.equal(read_checkpoint(out)["head.weight"], network(0)["head.weight"])


def test_a_full_disk_is_a_failure_and_no_misuse(files, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 10}))
    assert "has 10 left" in run(*files, "-o", tmp_path / "out.safetensors", code=1)


CODE = "from skfusion.cli import main; main()"


def test_commands_are_listed_and_others_refused():
    listed = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "120"})
    assert "compare" in listed.output
    assert "Merge checkpoints on disk into one" in listed.output
    unknown = CliRunner().invoke(app, ["mrge"])
    assert unknown.exit_code == 2
    assert "No such command 'mrge'" in unknown.output


def test_a_signal_that_ends_it_leaves_nothing(tmp_path):
    paths = [tmp_path / f"{k}.safetensors" for k in range(6)]
    for path in paths:
        safetensors.torch.save_file({"w": torch.ones(2**23)}, path)
    words = [sys.executable, "-c", CODE, "merge", *paths, "-o", tmp_path / "out.safetensors"]
    found = subprocess.Popen(words, env=os.environ | {"OMP_NUM_THREADS": "1"})
    while not [p for p in tmp_path.iterdir() if ".writing" in p.name] and found.poll() is None:
        time.sleep(0.001)
    assert found.poll() is None, "it ended before it could be interrupted"
    found.send_signal(signal.SIGTERM)
    assert found.wait(timeout=60) == 128 + signal.SIGTERM
    assert sorted(tmp_path.iterdir()) == sorted(paths)


def test_what_it_writes_to_a_pipe_is_plain(files, tmp_path):
    words = [sys.executable, "-c", CODE, "merge", *files, "-o", tmp_path / "out.safetensors"]
    found = subprocess.run(words, check=True, capture_output=True, text=True)
    assert found.stdout.startswith(f"Wrote {tmp_path / 'out.safetensors'}: 2 tensors")
    assert found.stdout.count("\n") == 1
    assert not found.stderr.strip()
