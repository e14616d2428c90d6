"""Files that somebody has made to do harm, or that were damaged: one clear line each, and nothing is merged."""

import json
import os
import struct
import time
import zipfile

import pytest
import safetensors.torch
import torch
from typer.testing import CliRunner

from skfusion.checkpoints import _archive, merge_checkpoints, read_checkpoint
from skfusion.checkpoints._archive import checked_blocks, parts_of
from skfusion.cli import app
from skfusion.merge import Uniform

DEEP = "[" * 100_000 + "]" * 100_000
STATE = {"w": torch.arange(1000.0), "b": torch.arange(10.0)}


def message_of(path):
    with pytest.raises(ValueError, match=path.name) as caught:
        read_checkpoint(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def whole(tmp_path):
    path = tmp_path / "whole.pt"
    torch.save(STATE, path)
    return path


def rewritten(path, compression=zipfile.ZIP_STORED, **changes):
    """Return a copy of an archive with other data in entries that end so."""
    copy = path.with_name(f"copy-{compression}.pt")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(copy, "w", compression) as new:
        for entry in old.infolist():
            name = entry.filename.rpartition("/")[2].partition(".")[0]
            new.writestr(entry.filename, changes.get(name, lambda data: data)(old.read(entry)))
    return copy


def flipped(path, entry, bit=1):
    """Return a copy of an archive with one bit changed in the data of an entry."""
    (part,) = [part for part in parts_of(path) if part.name.endswith(f"/{entry}")]
    data = bytearray(path.read_bytes())
    data[part.start + part.size // 2] ^= bit
    copy = path.with_name("flipped.pt")
    copy.write_bytes(data)
    return copy


# Indices.


@pytest.mark.parametrize("name", ["model.safetensors.index.json", "other.index.json", "..", ".", "", "/", "a\0b"])
@pytest.mark.parametrize("command", [False, True])
def test_an_index_that_names_itself_or_leaves_its_folder(tmp_path, name, command):
    path = tmp_path / "model.safetensors.index.json"
    path.write_text(json.dumps({"weight_map": {"w": name}}))
    if command:
        result = CliRunner().invoke(app, ["merge", str(path), "-o", str(tmp_path / "out.safetensors")])
        assert (result.exit_code, result.output.count("\n")) == (2, 1)
        return
    assert f"refers to {name!r}; shards must lie in the folder of their index" in message_of(path)


def test_names_that_no_file_can_have(tmp_path):
    path = tmp_path / "a.index.json"
    path.write_text('{"weight_map": {"w": "\\ud800"}}')
    assert r"refers to '\ud800'" in message_of(path)


def test_what_is_no_file(tmp_path):
    (tmp_path / "shard.bin").mkdir()
    path = tmp_path / "a.index.json"
    path.write_text('{"weight_map": {"w": "shard.bin"}}')
    with pytest.raises(ValueError, match="shard.bin is no regular file"):
        read_checkpoint(path)
    os.mkfifo(tmp_path / "pipe.pt")  # reading it would wait for ever
    assert "is no regular file" in message_of(tmp_path / "pipe.pt")


def test_deep_json(tmp_path):
    path = tmp_path / "a.index.json"
    path.write_text(DEEP)
    assert "is no index of shards" in message_of(path)
    path = tmp_path / "a.safetensors"
    safetensors.torch.save_file(STATE, path, {"skfusion": DEEP})
    assert "is damaged" in message_of(path)
    header = b'{"a":' * 100_000 + b"1" + b"}" * 100_000
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    assert "is damaged" in message_of(path)


# Archives.


def test_what_is_compressed_is_refused_before_it_is_inflated(whole):
    bomb = rewritten(whole, zipfile.ZIP_DEFLATED, data=lambda pickled: pickled[:2] + b"N" * 2**25 + pickled[2:])
    assert bomb.stat().st_size < 2**17
    start = time.process_time()
    message = message_of(bomb)
    assert time.process_time() - start < 1  # to unpickle it takes 20 s and 300 MB
    assert "is refused: its entry 'whole/data.pkl' is compressed" in message


def test_compressed_numbers_are_not_mapped_as_if_they_were_stored(whole):
    path = whole.with_name("numbers.pt")
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(path, "w") as new:
        for entry in old.infolist():
            deflate = entry.filename.endswith("data/0")
            new.writestr(entry.filename, old.read(entry), zipfile.ZIP_DEFLATED if deflate else zipfile.ZIP_STORED)
    assert "its entry 'whole/data/0' is compressed" in message_of(path)


@pytest.mark.parametrize("entry", ["data/0", "data/1", "data.pkl", "version"])
@pytest.mark.parametrize("bit", [1, 64])
def test_a_byte_that_has_changed_is_named_and_not_merged(tmp_path, whole, entry, bit):
    path = flipped(whole, entry, bit)
    assert "flipped.pt is damaged" in message_of(path)
    out = tmp_path / "out.safetensors"
    with pytest.raises(ValueError, match="flipped.pt is damaged") as caught:
        merge_checkpoints([whole, path], out, Uniform())
    if entry.startswith("data/"):
        assert f"the check sum of its entry 'whole/{entry}' is not that of what was written" in str(caught.value)
    assert sorted(tmp_path.iterdir()) == [path, whole]


def test_a_diagnosis_of_a_damaged_file_is_none(whole):
    result = CliRunner().invoke(app, ["diagnose", str(whole), str(flipped(whole, "data/0"))])
    assert result.exit_code == 2
    assert "the check sum of its entry" in result.output


def test_check_sums_that_were_left_out_are_not_missed(tmp_path, whole):
    before = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(STATE, tmp_path / "none.pt")
    finally:
        torch.serialization.set_crc32_options(before)
    merge_checkpoints([whole, tmp_path / "none.pt"], tmp_path / "out.safetensors", Uniform())
    assert torch.equal(read_checkpoint(tmp_path / "none.pt")["w"], STATE["w"])


@pytest.mark.parametrize("size", [1, 7, 100, 10**6])
def test_check_sums_do_not_depend_on_the_blocks(whole, size, monkeypatch):
    monkeypatch.setattr(_archive, "_BLOCK", size)
    assert b"".join(map(bytes, checked_blocks(whole))) == whole.read_bytes()
    with pytest.raises(ValueError, match="'whole/data/1'"):
        list(checked_blocks(flipped(whole, "data/1")))


def test_other_files_have_no_check_sums_and_are_not_read_for_them(tmp_path, monkeypatch):
    safetensors.torch.save_file(STATE, tmp_path / "a.safetensors")
    (tmp_path / "empty").touch()
    for name in ("a.safetensors", "empty"):
        assert b"".join(map(bytes, checked_blocks(tmp_path / name))) == (tmp_path / name).read_bytes()
    monkeypatch.setattr(_archive, "checked_blocks", lambda path: pytest.fail("the file is read"))
    _archive.check_sums(tmp_path / "a.safetensors")


@pytest.mark.parametrize("field", ["offset", "size", "mark", "encrypted"])
def test_a_table_that_does_not_fit_its_data(whole, field):
    data = bytearray(whole.read_bytes())
    with zipfile.ZipFile(whole) as archive:
        entries = archive.infolist()
    places = [k for k in range(len(data)) if data[k : k + 4] == b"PK\1\2"]
    (place,) = [p for p, e in zip(places, entries, strict=True) if e.filename.endswith("data/0")]
    if field == "offset":  # two entries share their data, as in bombs that need no compression
        data[place + 42 : place + 46] = struct.pack("<I", entries[0].header_offset)
    elif field == "size":
        data[place + 20 : place + 28] = struct.pack("<II", 10**9, 10**9)
    elif field == "mark":
        data[entries[0].header_offset : entries[0].header_offset + 4] = b"PK\5\5"
    else:
        data[place + 8] |= 1
    path = whole.with_name("table.pt")
    path.write_bytes(data)
    message = message_of(path)
    assert "is encrypted" in message if field == "encrypted" else "is damaged" in message


def test_an_archive_is_read_in_blocks(whole, monkeypatch):
    monkeypatch.setattr(_archive, "_BLOCK", 5)
    assert torch.equal(read_checkpoint(whole)["w"], STATE["w"])
