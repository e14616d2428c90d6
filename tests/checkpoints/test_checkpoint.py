"""Checkpoints: what other programs save is read, mapped, and never run; what is damaged is named."""

import json
import pickle
import zipfile
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from skfusion.checkpoints import read_checkpoint
from skfusion.checkpoints._checkpoint import WRAPPERS, open_checkpoint
from skfusion.connect import Line
from skfusion.pool import Member, ModelPool
from skfusion.state import distance


def state(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {
        "1.weight": torch.randn(4, 3, generator=generator),
        "0.bias": torch.randn(5, generator=generator).to(torch.bfloat16),
        "1.num_batches_tracked": torch.tensor(7),
        "scalar": torch.tensor(0.5, dtype=torch.float64),
        "empty": torch.zeros(0, 2),
    }


def assert_equal(found, expected):
    assert {*found} == {*expected}
    for name, t in expected.items():
        assert found[name].dtype == t.dtype
        assert torch.equal(found[name], t), name


def message_of(path, error=ValueError):
    with pytest.raises(error) as caught:
        read_checkpoint(path)
    return str(caught.value)


def shards(folder, content, **changes):
    names = sorted(content)
    files = ["model-1.safetensors", "model-2.safetensors"]
    for k, file in enumerate(files):
        safetensors.torch.save_file({n: content[n] for n in names[k::2]}, folder / file)
    index = {"metadata": {}, "weight_map": {n: files[k % 2] for k, n in enumerate(names)} | changes}
    path = folder / "model.safetensors.index.json"
    path.write_text(json.dumps(index))
    return path


# What is read.


def test_safetensors(tmp_path):
    safetensors.torch.save_file(state(), tmp_path / "a.safetensors", {"format": "pt"})
    assert_equal(read_checkpoint(tmp_path / "a.safetensors"), state())


@pytest.mark.parametrize("wrapper", [None, *WRAPPERS])
def test_torch_save(tmp_path, wrapper):
    path = tmp_path / "a.ckpt"
    torch.save(state() if wrapper is None else {"epoch": 3, wrapper: state(), "optimizer": {"lr": 0.1}}, path)
    assert_equal(read_checkpoint(path), state())
    expected = [] if wrapper is None else [f"{path}: its entry {wrapper!r} is read. The entries epoch, optimizer are"]
    notes = open_checkpoint(path).notes
    assert len(notes) == len(expected)
    assert all(note.startswith(start) for note, start in zip(notes, expected, strict=True))


def test_an_entry_named_like_a_wrapper_may_be_a_tensor(tmp_path):
    torch.save({"model": torch.ones(2)}, tmp_path / "a.pt")
    assert_equal(read_checkpoint(tmp_path / "a.pt"), {"model": torch.ones(2)})


def test_a_module_s_own_state_dict_with_parameters(tmp_path):
    net = nn.Linear(3, 2)
    torch.save(dict(net.named_parameters()), tmp_path / "a.pt")
    found = read_checkpoint(tmp_path / "a.pt")
    assert_equal(found, net.state_dict())
    assert not any(t.requires_grad for t in found.values())


def test_shards(tmp_path):
    assert_equal(read_checkpoint(shards(tmp_path, state())), state())
    assert {f.name for f in open_checkpoint(tmp_path).files} == {"model-1.safetensors", "model-2.safetensors"}


def test_shards_of_torch(tmp_path):
    torch.save({"a": torch.ones(2)}, tmp_path / "1.bin")
    torch.save({"b": torch.zeros(2)}, tmp_path / "2.bin")
    path = tmp_path / "pytorch_model.bin.index.json"
    path.write_text(json.dumps({"weight_map": {"a": "1.bin", "b": "2.bin"}}))
    assert_equal(read_checkpoint(path), {"a": torch.ones(2), "b": torch.zeros(2)})


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin", "last.ckpt"])
def test_a_folder_with_one_checkpoint(tmp_path, name):
    (tmp_path / "config.json").write_text("{}")
    if name.endswith("safetensors"):
        safetensors.torch.save_file(state(), tmp_path / name)
        torch.save({"other": torch.ones(1)}, tmp_path / "training.pt")
    else:
        torch.save(state(), tmp_path / name)
    assert_equal(read_checkpoint(tmp_path), state())


@pytest.mark.parametrize(
    ("weights", "beside"),
    [
        (
            "pytorch_model.bin",
            ["training_args.bin", "optimizer.pt", "rng_state.pth", "rng_state_0.pth"],
        ),
        ("model.bin", ["optimizer.bin", "scheduler.bin", "sampler.bin", "random_states_0.pkl", "scaler.pt"]),
        ("params.pt", ["optimizer.pt", "criterion.pt", "history.json"]),
        ("model.safetensors", ["training_args.bin", "optimizer.pt"]),
    ],
)
def test_what_training_programs_save_beside_the_weights_is_no_checkpoint(tmp_path, weights, beside):
    for name in beside:
        torch.save({"other": torch.ones(1)}, tmp_path / name)
    assert "There is no checkpoint" in message_of(tmp_path, FileNotFoundError)
    if weights.endswith("safetensors"):
        safetensors.torch.save_file(state(), tmp_path / weights)
    else:
        torch.save(state(), tmp_path / weights)
    assert_equal(read_checkpoint(tmp_path), state())
    assert [file.name for file in open_checkpoint(tmp_path).files] == [weights]
    assert_equal(read_checkpoint(tmp_path / beside[0]), {"other": torch.ones(1)})  # by its own name it can be read


@pytest.mark.parametrize(
    ("content", "key"),
    [
        ({"epoch": 3, "model_state": state()}, "model_state"),
        ({"ema": {"decay": 0.9, "module": state()}}, "ema.module"),
        ({"a.b": {"c.d": state()}}, "a.b.c.d"),
        ({"model_state": state(), "step": torch.tensor(3)}, "model_state"),
    ],
)
def test_a_nested_state_is_read_by_its_key(tmp_path, content, key):
    path = tmp_path / "a.pt"
    torch.save(content, path)
    assert f"{path} holds no state at the top, but under {key!r}. Say which to read: key={key!r}" in message_of(path)
    assert_equal(read_checkpoint(path, key=key), state())
    assert f"{path}: its entry {key!r} is read." in open_checkpoint(path, key).notes[0]


def test_a_key_goes_before_the_usual_entries(tmp_path):
    torch.save({"model": state(0), "ema": state(1), "optimizer": {"state": {0: torch.ones(1)}}}, tmp_path / "a.pt")
    assert_equal(read_checkpoint(tmp_path / "a.pt"), state(0))
    assert_equal(read_checkpoint(tmp_path / "a.pt", key="ema"), state(1))
    assert open_checkpoint(tmp_path / "a.pt", "ema").notes[0].endswith("The entries model, optimizer are left aside.")


@pytest.mark.parametrize("key", ["none", "model.none", "epoch"])
def test_a_key_that_is_none(tmp_path, key):
    torch.save({"model": state(), "epoch": 3}, tmp_path / "a.pt")
    with pytest.raises(ValueError, match="has no state under .*; there are states under 'model'"):
        read_checkpoint(tmp_path / "a.pt", key=key)


def test_a_file_that_is_a_state_itself_needs_no_key(tmp_path):
    torch.save(state(), tmp_path / "a.pt")
    assert_equal(read_checkpoint(tmp_path / "a.pt", key="ema"), state())
    assert "there is no entry 'ema'; the file is a state itself" in open_checkpoint(tmp_path / "a.pt", "ema").notes[0]
    safetensors.torch.save_file(state(), tmp_path / "a.safetensors")
    assert_equal(read_checkpoint(tmp_path / "a.safetensors", key="ema"), state())


def test_the_prefix_of_compiled_modules_is_taken_off(tmp_path):
    torch.save({f"_orig_mod.{n}": t for n, t in state().items()} | {"a._orig_mod.b": torch.ones(1)}, tmp_path / "a.pt")
    assert_equal(read_checkpoint(tmp_path / "a.pt"), state() | {"a.b": torch.ones(1)})
    assert "_orig_mod. of a compiled module is taken off" in open_checkpoint(tmp_path / "a.pt").notes[0]


def test_a_name_that_is_there_with_and_without_the_prefix(tmp_path):
    torch.save({"_orig_mod.w": torch.ones(1), "w": torch.zeros(1)}, tmp_path / "a.pt")
    assert "holds both 'w' and '" in message_of(tmp_path / "a.pt")


def test_tied_tensors_are_one_tensor(tmp_path):
    net = nn.ModuleDict({"a": nn.Linear(3, 3), "b": nn.Linear(3, 3)})
    net["b"].weight = net["a"].weight
    torch.save(net.state_dict(), tmp_path / "a.pt")
    ModelPool([Member("m", net.state_dict())]).save(tmp_path / "pool")
    (file,) = (tmp_path / "pool").glob("state-*.safetensors")
    for path in (tmp_path / "a.pt", file):
        found = read_checkpoint(path)
        assert_equal(found, net.state_dict())
        assert found["a.weight"].data_ptr() == found["b.weight"].data_ptr()


def test_the_format_of_old_torch_is_read_into_memory_and_noted(tmp_path):
    torch.save(state(), tmp_path / "a.pt", _use_new_zipfile_serialization=False)
    assert_equal(read_checkpoint(tmp_path / "a.pt"), state())
    found = open_checkpoint(tmp_path / "a.pt")
    assert "torch before 1.6" in found.notes[0]
    assert found.in_memory == (tmp_path / "a.pt").stat().st_size


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="Linux tells what is mapped")
@pytest.mark.parametrize("kind", ["safetensors", "pt"])
def test_tensors_are_mapped(tmp_path, kind):
    path, content = tmp_path / f"a.{kind}", {"w": torch.ones(2**18)}
    safetensors.torch.save_file(content, path) if kind == "safetensors" else torch.save(content, path)
    found = read_checkpoint(path)["w"]
    places = (line.split() for line in Path("/proc/self/maps").read_text().splitlines())
    spans = [[int(x, 16) for x in words[0].split("-")] for words in places if words[-1] == str(path)]
    assert any(low <= found.data_ptr() < high for low, high in spans)


# What is not.


class Evil:
    def __reduce__(self):
        return (print, ("code was run",))


@pytest.mark.parametrize("old", [False, True])
def test_code_is_refused_and_not_run(tmp_path, capsys, old):
    torch.save({"w": torch.ones(1), "x": Evil()}, tmp_path / "a.pt", _use_new_zipfile_serialization=not old)
    message = message_of(tmp_path / "a.pt")
    assert "a.pt is refused: it asks to load" in message
    assert "print, which is code and not a tensor" in message
    assert "torch.save(model.state_dict(), ...)" in message
    assert not capsys.readouterr().out


def test_a_whole_module_is_refused(tmp_path):
    torch.save(nn.Linear(2, 2), tmp_path / "a.pt")
    assert "asks to load torch.nn.modules.linear.Linear, which is code" in message_of(tmp_path / "a.pt")


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("content", [Evil(), {"w": torch.ones(1)}, {"a": 1}], ids=["evil", "state", "numbers"])
def test_a_plain_pickle_is_refused(tmp_path, capsys, content, protocol):
    (tmp_path / "a.pt").write_bytes(pickle.dumps(content, protocol))
    message = message_of(tmp_path / "a.pt")
    assert "a.pt is refused: it is a plain pickle and no file of torch.save, and pickles can run code" in message
    assert "Nothing of it was run." in message
    assert "torch.save(model.state_dict(), ...)" in message
    assert not capsys.readouterr().out


def test_a_pickle_protocol_that_torch_does_not_read_without_code(tmp_path):
    torch.save(state(), tmp_path / "a.pt", pickle_protocol=4)
    assert "was saved with a pickle_protocol above 3" in message_of(tmp_path / "a.pt")
    torch.save(state(), tmp_path / "b.pt", pickle_protocol=3, _use_new_zipfile_serialization=False)
    assert_equal(read_checkpoint(tmp_path / "b.pt"), state())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_program_of_torchscript_is_refused(tmp_path):
    torch.jit.trace(nn.Linear(2, 2), torch.ones(1, 2)).save(tmp_path / "a.pt")
    assert "is a program of TorchScript and not a state" in message_of(tmp_path / "a.pt")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ([torch.ones(1)], "holds a list and no state dict"),
        ({}, "holds no tensors"),
        ({"w": torch.ones(1), "epoch": 3}, "Entry 'epoch' of .* is a int; a state holds tensors only"),
        ({"w": {"v": torch.ones(1)}}, "holds no state at the top, but under 'w'"),
        ({"w": {"v": 1}, "b": torch.ones(1)}, "Entry 'w' of .* is a dict"),
        ({3: torch.ones(1)}, "Tensor 3 of .* only dense tensors with a string as name"),
        ({"w": torch.eye(2).to_sparse()}, "Tensor 'w' of .*sparse"),
        ({"w": torch.empty(2, device="meta")}, "Tensor 'w' of .* is meta"),
    ],
)
def test_what_is_no_state_is_refused(tmp_path, content, expected):
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(ValueError, match=expected):
        read_checkpoint(tmp_path / "a.pt")


@pytest.mark.filterwarnings("ignore:.*quantiz:DeprecationWarning", "ignore::UserWarning")
def test_quantised_tensors_are_refused(tmp_path):
    torch.save({"w": torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)}, tmp_path / "a.pt")
    assert "Tensor 'w'" in message_of(tmp_path / "a.pt")


# What is damaged.


def test_a_cut_safetensors_file_is_named_with_its_tensor(tmp_path):
    safetensors.torch.save_file({"a": torch.ones(50), "b": torch.ones(50)}, tmp_path / "a.safetensors")
    whole = (tmp_path / "a.safetensors").read_bytes()
    path = tmp_path / "cut.safetensors"
    path.write_bytes(whole[:-10])
    assert f"Tensor 'b' ends at byte {len(whole)}, and the file at byte {len(whole) - 10}" in message_of(path)
    path.write_bytes(whole[:-210])
    assert "Tensor 'a' ends at byte" in message_of(path)


@pytest.mark.parametrize("kind", ["safetensors", "pt"])
def test_a_file_that_is_cut_anywhere_is_named(tmp_path, kind):
    path = tmp_path / f"a.{kind}"
    safetensors.torch.save_file(state(), path) if kind == "safetensors" else torch.save(state(), path)
    whole = path.read_bytes()
    for size in {0, 1, 5, 8, 9, 20, len(whole) // 3, len(whole) // 2, len(whole) - 30, len(whole) - 1}:
        cut = tmp_path / f"cut-{size}.{kind}"
        cut.write_bytes(whole[:size])
        assert cut.name in message_of(cut)


def test_a_damaged_header(tmp_path):
    path = tmp_path / "a.safetensors"
    safetensors.torch.save_file(state(), path)
    whole = path.read_bytes()
    path.write_bytes(whole[:8] + b"{" + b"x" + whole[10:])
    assert "a.safetensors is damaged" in message_of(path)
    safetensors.torch.save_file(state(), path, {"skfusion": "{}"})
    assert "a.safetensors is damaged" in message_of(path)


def test_an_archive_without_its_parts(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.pt", "w") as archive:
        archive.writestr("notes.txt", "nothing")
    assert "is damaged, or no file of torch.save" in message_of(tmp_path / "a.pt")


def test_another_kind_of_file(tmp_path):
    (tmp_path / "a.safetensors").write_text("weights")
    assert "neither a safetensors file nor one of torch.save" in message_of(tmp_path / "a.safetensors")
    (tmp_path / "empty.pt").touch()
    assert "empty.pt is empty" in message_of(tmp_path / "empty.pt")


def test_no_file_at_all(tmp_path):
    assert "none.pt" in message_of(tmp_path / "none.pt", FileNotFoundError)
    assert "There is no checkpoint" in message_of(tmp_path, FileNotFoundError)


def test_a_folder_with_several(tmp_path):
    for name in "ab":
        torch.save(state(), tmp_path / f"{name}.pt")
    assert "holds 2 checkpoints (a.pt, b.pt); give the path of one" in message_of(tmp_path)


def test_shards_that_do_not_keep_what_their_index_says(tmp_path):
    path = shards(tmp_path, state(), lost="model-1.safetensors")
    assert "Tensor 'lost' is missing in " in message_of(path)
    path = shards(tmp_path, state(), outside="../model-1.safetensors")
    assert "shards must lie in the folder of their index" in message_of(path)
    path = shards(tmp_path, state(), gone="model-3.safetensors")
    assert "model-3.safetensors" in message_of(path, FileNotFoundError)
    whole = (tmp_path / "model-2.safetensors").read_bytes()
    path = shards(tmp_path, state())
    (tmp_path / "model-2.safetensors").write_bytes(whole[:-1])
    assert "model-2.safetensors is damaged" in message_of(path)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"weight_map": 3}', '{"weight_map": {"a": 1}}', "\x00"])
def test_an_index_that_is_none(tmp_path, text):
    (tmp_path / "a.index.json").write_text(text)
    assert "is no index of shards" in message_of(tmp_path / "a.index.json")


def test_a_network_is_at_no_distance_from_itself_in_a_file_of_another_kind(tmp_path):
    """Files of torch keep the order of the module, safetensors files have their own."""
    given = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)).double().state_dict()
    torch.save(given, tmp_path / "a.pt")
    safetensors.torch.save_file(given, tmp_path / "a.safetensors")
    one, other = (read_checkpoint(tmp_path / name) for name in ("a.pt", "a.safetensors"))
    assert [*one] != [*other]
    assert distance(one, other) == 0
    assert Line()([one, other]).length() == 0
