"""The commands ``skfusion pool``: pools on disk are listed, shown, checked, changed and merged."""

import json
import re
import shutil

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from skfusion.checkpoints import format as formats
from skfusion.cli import app
from skfusion.pool import DirectoryStore, Member, ModelPool


def run(*words, code=0, **options):
    result = CliRunner().invoke(app, ["pool", *(str(word) for word in words)], env={"COLUMNS": "120"}, **options)
    assert result.exit_code == code, result.output
    return result.stdout if "--json" in words else result.output


def member(name, *shape, **known):
    return Member(name, {"w": torch.full(shape or (3, 2), 1.5), "steps": torch.tensor(7)}, **known)


@pytest.fixture
def folder(tmp_path):
    """A pool of three members, the last one of another architecture."""
    rows = np.arange(5, dtype=np.uint64)
    meta = {"source": "trial 7", "seed": 3, "params": {"lr": 0.1}, "history": [{"epoch": 1, "train_loss": 0.25}]}
    members = [
        member("seed-0", score=0.75, rows=rows, meta=meta, predictions=np.full((4, 2), 0.5)),
        member("seed-1", rows=rows),
        member("wide", 30, 2, score=0.5),
    ]
    ModelPool(members, base={"w": torch.zeros(3, 2)}, classes=["no", "yes"]).save(tmp_path / "pool")
    return tmp_path / "pool"


@pytest.fixture
def no_weights_are_read(monkeypatch):
    """Fail where a file is read as a whole."""
    for name in ("digest_of", "read_state", "read_array"):
        monkeypatch.setattr(formats, name, lambda *_: pytest.fail("A file of weights was read."))


def test_ls_lists_members(folder, no_weights_are_read):
    lines = [" ".join(line.split()) for line in run("ls", folder).splitlines()]
    assert "member score kind numbers size source" in lines
    assert any(re.fullmatch(r"seed-0 0.75 network A 7 \d+ B trial 7", line) for line in lines)
    assert any(re.fullmatch(r"seed-1 – network A 7 \d+ B –", line) for line in lines)
    assert any(re.fullmatch(r"wide 0.5 network B 61 \d+ B –", line) for line in lines)
    assert "3 members, 2 architectures, " in run("ls", folder)
    assert "2 classes: no, yes." in lines
    assert "The members have a common start (base)." in lines


def test_ls_as_json(folder, no_weights_are_read):
    found = json.loads(run("ls", folder, "--json"))
    assert found["classes"] == ["no", "yes"]
    assert found["has_base"]
    assert found["left_over"] == []
    assert [m["name"] for m in found["members"]] == ["seed-0", "seed-1", "wide"]
    assert [m["score"] for m in found["members"]] == [0.75, None, 0.5]
    assert [m["architecture"] for m in found["members"]] == [0, 0, 1]
    assert found["members"][0]["meta"] == {"source": "trial 7", "seed": 3, "params": {"lr": 0.1}}


def test_show_says_all_that_is_known_of_a_member(folder, no_weights_are_read):
    text = " ".join(run("show", folder, "seed-0").split())
    for part in (
        *("seed-0", "score 0.75", "kind network A", "the same architecture seed-1", "numbers 7", "training rows 5"),
        *("held-out predictions 4 x 2", "source trial 7", 'params {"lr": 0.1}', "1 epochs; at the end: epoch 1"),
        *("w 3 x 2 float32", "steps number int64", "file of the state state-"),
    ):
        assert part in text
    found = json.loads(run("show", folder, "seed-0", "--json"))
    assert found["tensors"] == {
        "w": {"shape": [3, 2], "dtype": "float32"},
        "steps": {"shape": [], "dtype": "int64"},
    }
    assert found["rows_shape"] == [5]
    assert found["meta"]["history"] == [{"epoch": 1, "train_loss": 0.25}]
    assert found["same_architecture"] == ["seed-1"]
    assert "no other member" in run("show", folder, "wide")


def test_verify_checks_each_file(folder):
    assert "6 files of 3 members are as they were written." in run("verify", folder)
    found = json.loads(run("verify", folder, "--json"))
    names = {path.name for path in folder.iterdir() if formats.DATA_FILE.fullmatch(path.name)}
    assert found["n_files"] == len(names)
    assert found["sound"]
    assert found["faults"] == {}


def files_of(folder, name):
    return json.loads(run("show", folder, name, "--json"))["files"]


def test_verify_names_what_is_damaged_missing_and_left_over(folder):
    damaged = folder / files_of(folder, "wide")["state"]
    text = bytearray(damaged.read_bytes())
    text[-1] ^= 1
    damaged.write_bytes(text)
    (folder / files_of(folder, "seed-0")["rows"]).unlink()
    stray = folder / f"state-{'0' * 64}.safetensors"
    shutil.copy(folder / files_of(folder, "seed-1")["state"], stray)
    text = run("verify", folder, code=1)
    assert f"{damaged.name} is damaged: its content is not what was written; it holds the state of 'wide'." in text
    assert "is missing; it holds the rows of 'seed-0', the rows of 'seed-1'." in text
    assert f"{stray.name} is left over: no member has it." in text
    assert "2 of 6 files are damaged or missing." in text
    found = json.loads(run("verify", folder, "--json", code=1))
    assert len(found["faults"]) == 2
    assert found["left_over"] == [stray.name]
    assert not found["sound"]
    run("ls", folder)
    run("show", folder, "wide")


def test_a_left_over_file_alone_is_no_fault(folder):
    (folder / f"state-{'0' * 64}.safetensors").write_bytes(b"half")
    assert "left over" in run("verify", folder)
    assert "1 file left over" in run("ls", folder)


def test_a_cut_header_is_damage_and_no_crash(folder):
    for text in (b"", b"\xff" * 8, (10).to_bytes(8, "little") + b"[" * 10, (2).to_bytes(8, "little") + b"{}"):
        (folder / files_of(folder, "wide")["state"]).write_bytes(text)
        assert json.loads(run("ls", folder, "--json"))["members"][2]["n_numbers"] in (None, 0)
        run("verify", folder, code=1)


def test_rm_removes_members_by_name_and_by_pattern(folder):
    assert "Removed 1 member: wide." in run("rm", folder, "wide", "--yes")
    assert DirectoryStore(folder).names() == ["seed-0", "seed-1"]
    assert "Removed 2 members: seed-0, seed-1." in run("rm", folder, "seed-*", "seed-0", "-y")
    assert DirectoryStore(folder).names() == []


def test_rm_takes_a_name_before_a_pattern(tmp_path):
    ModelPool([member("a[1]"), member("a1"), member("b")]).save(tmp_path)
    run("rm", tmp_path, "a[1]", "-y")
    assert DirectoryStore(tmp_path).names() == ["a1", "b"]


def test_rm_asks_first(folder, monkeypatch):
    text = run("rm", folder, "seed-*", code=2)
    assert "This would remove 2 members (seed-0, seed-1), and there is no terminal to ask. Give --yes." in text
    monkeypatch.setattr("skfusion.cli._pool.asking", lambda: True)
    assert "Nothing is removed." in run("rm", folder, "seed-*", code=1, input="n\n")
    assert len(DirectoryStore(folder).names()) == 3
    assert "Removed 2 members" in run("rm", folder, "seed-*", input="y\n")


def test_merge_makes_one_pool_of_several(folder, tmp_path):
    other = tmp_path / "other"
    ModelPool([member("more"), member("seed-1", rows=np.arange(5, dtype=np.uint64))], classes=["no", "yes"]).save(other)
    assert "Wrote 4 members to" in run("merge", folder, other, "-o", tmp_path / "all")
    assert ModelPool.load(tmp_path / "all").names == ["seed-0", "seed-1", "wide", "more"]
    again = json.loads(run("merge", folder, other, "-o", tmp_path / "all", "--json"))
    assert again == {"path": str(tmp_path / "all"), "written": []}
    ModelPool([member("seed-1", 9)], classes=["no", "yes"]).save(tmp_path / "third")
    assert "different members called 'seed-1'" in run("merge", other, tmp_path / "third", "-o", tmp_path / "b", code=2)
    run("merge", other, tmp_path / "third", "-o", tmp_path / "b", "--prefix")
    assert ModelPool.load(tmp_path / "b").names == ["more", "seed-1", "third/seed-1"]


def test_errors_have_one_line(folder, tmp_path):
    for words, message in [
        (("ls", tmp_path / "nowhere"), "There is no pool in"),
        (("show", folder, "none"), "There is no member none in .*There are seed-0, seed-1, wide."),
        (("rm", folder, "none*", "-y"), "No member of .* is called none"),
        (("verify", tmp_path), "There is no pool in|is not a pool"),
        (("merge", tmp_path / "nowhere", "-o", tmp_path / "all"), "There is no pool in"),
    ]:
        text = run(*words, code=2)
        assert re.search(message, text)
        assert len(text.strip().splitlines()) == 1
    (folder / "pool.json").write_text("{}")
    assert "was not written by skfusion" in run("ls", folder, code=2)


def test_names_from_strangers_do_not_reach_the_terminal(tmp_path):
    wicked = "\x1b[31mred\x07[bold]x[/]"
    ModelPool([member(wicked, meta={"source": "\x1b]0;title\x07", "a\nb": "<script>"}), member("b")]).save(tmp_path)
    for words in (("ls", tmp_path), ("show", tmp_path, wicked), ("rm", tmp_path, wicked, "-y")):
        text = run(*words)
        assert "\x1b" not in text
        assert "\x07" not in text
        assert "[bold]x[/]" in text


def wicked_header(folder, **about):
    """Write another header into the file of the one member of a pool, which listing does not check."""
    ModelPool([member("a")]).save(folder)
    text = json.dumps({"w": {"dtype": "F32", "shape": [3, 2], "data_offsets": [0, 24], **about}}).encode()
    (path,) = folder.glob("state-*")
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(24))


def test_headers_from_strangers_do_not_reach_the_terminal(tmp_path):
    wicked_header(tmp_path, dtype="\x1b[31mred\x07")
    assert not {*"\x1b\x07"} & {*run("show", tmp_path, "a")}


@pytest.mark.parametrize("n", [2**70, 10**4000])
def test_sizes_that_no_file_can_have_are_not_shown(tmp_path, n):
    wicked_header(tmp_path, shape=[n, n])
    for words in (("ls", tmp_path), ("show", tmp_path, "a"), ("ls", tmp_path, "--json")):
        assert str(n)[:20] not in run(*words)
    assert json.loads(run("ls", tmp_path, "--json"))["members"][0]["n_numbers"] is None


@pytest.mark.parametrize("depth", [800, 5000])
def test_settings_that_are_nested_on_purpose_are_damage(tmp_path, depth):
    ModelPool([member("a", meta={"seed": 3})]).save(tmp_path)
    (text,) = re.findall(r"(?m)^\{\"meta\".*$", (tmp_path / "pool.json").read_text())
    entry = text.replace("3", '{"a":' * depth + "3" + "}" * depth, 1)
    (tmp_path / "pool.json").write_bytes(formats.index_to_bytes([entry], None, None, None, 2))
    assert "nested too deeply" in run("ls", tmp_path, code=2)


def test_members_are_listed_by_the_index_and_a_header_each(tmp_path, monkeypatch, request):
    ModelPool([member(f"m{i}", meta={"seed": i}) for i in range(300)]).save(tmp_path)
    request.getfixturevalue("no_weights_are_read")
    opened = []
    described = formats.described
    monkeypatch.setattr(formats, "described", lambda path: (opened.append(path), described(path))[1])
    assert "300 members, 1 architecture" in run("ls", tmp_path)
    assert len(opened) <= 300


def test_help_names_the_commands():
    text = run("--help")
    for name in ("ls", "show", "verify", "rm", "merge"):
        assert re.search(rf"^\s+{name}\s", text, re.MULTILINE)
