"""Prefixes of names that differ between checkpoints are named, and taken off where it is asked for."""

import pytest
import torch
from typer.testing import CliRunner

from skfusion.checkpoints import merge_checkpoints, read_checkpoint
from skfusion.cli import app
from skfusion.merge import TIES, Uniform

NAMES = ("encoder.0.weight", "encoder.0.bias", "encoder.1.weight", "head.weight")


def state(seed, prefix="", names=NAMES):
    generator = torch.Generator().manual_seed(seed)
    return {prefix + name: torch.randn(3, generator=generator) for name in names}


def saved(folder, *prefixes):
    paths = [folder / f"{k}.pt" for k in range(len(prefixes))]
    for k, path in enumerate(paths):
        torch.save(state(k, prefixes[k]), path)
    return paths


def refused(paths, out, **options):
    with pytest.raises(ValueError, match="strip_prefix") as caught:
        merge_checkpoints(paths, out, Uniform(), **options)
    assert not out.exists()
    return str(caught.value)


@pytest.mark.parametrize(
    ("prefixes", "told", "given"),
    [
        (("model.", ""), "begin with 'model.' in {0} and without it in {1}", ["model."]),
        (("", "model."), "begin without 'model.' in {0} and with it in {1}", ["model."]),
        (("model.", "net."), "begin with 'model.' in {0} and with 'net.' in {1}", ["model.", "net."]),
        (("", "", "model.net."), "begin without 'model.net.' in {0} and with it in {2}", ["model.net."]),
        (("a.model.", "b.model."), "begin with 'a.' in {0} and with 'b.' in {1}", ["a.", "b."]),
        (("module.model.", "model."), "begin with 'module.' in {0} and without it in {1}", None),
    ],
)
def test_prefixes_that_differ_are_named_with_the_remedy(tmp_path, prefixes, told, given):
    paths, out = saved(tmp_path, *prefixes), tmp_path / "out.safetensors"
    if given is None:  # that of DataParallel is known, taken off and noted
        assert any("module." in note for note in merge_checkpoints(paths, out, Uniform()).notes)
        return
    message = refused(paths, out)
    options = " ".join(f"--strip-prefix {prefix}" for prefix in given)
    assert message.endswith(f"The names {told.format(*paths)}: give strip_prefix={given!r} ({options}).")
    report = merge_checkpoints(paths, out, Uniform(), strip_prefix=given)
    expected = Uniform()([state(k) for k in range(len(paths))])
    found = read_checkpoint(out)
    rest = next(iter(found)).removesuffix(NAMES[0])
    assert {*found} == {rest + name for name in NAMES}
    assert all(torch.equal(found[rest + name], t) for name, t in expected.items())
    assert sum("taken off 4 of 4 names" in note for note in report.notes) == sum(map(bool, prefixes))


def test_names_that_only_most_of_a_network_shares(tmp_path):
    """As where a loss with weights was trained beside the network."""
    torch.save(state(0, "model.") | {"loss.weight": torch.ones(2)}, tmp_path / "a.pt")
    torch.save(state(1), tmp_path / "b.pt")
    paths, out = [tmp_path / "a.pt", tmp_path / "b.pt"], tmp_path / "out.safetensors"
    assert "give strip_prefix=['model.']" in refused(paths, out)
    report = merge_checkpoints(paths, out, Uniform(), strip_prefix="model.", keep_heads=True)
    assert f"{paths[0]}: the prefix model. is taken off 4 of 5 names." in report.notes
    assert torch.equal(read_checkpoint(out)["loss.weight"], torch.ones(2))


def test_other_architectures_have_no_prefix(tmp_path):
    torch.save(state(0, names=["a.weight", "b.weight", "c.weight"]), tmp_path / "a.pt")
    torch.save(state(1, names=["x.weight", "y.0.weight", "z"]), tmp_path / "b.pt")
    with pytest.raises(ValueError, match="these are different architectures") as caught:
        merge_checkpoints([tmp_path / "a.pt", tmp_path / "b.pt"], tmp_path / "out.safetensors", Uniform())
    assert "prefix" not in str(caught.value)


def test_the_base_loses_its_prefix_too(tmp_path):
    *paths, base = saved(tmp_path, "", "", "model.")
    out = tmp_path / "out.safetensors"
    with pytest.raises(ValueError, match="--strip-prefix model."):
        merge_checkpoints(paths, out, TIES(), base=base)
    merge_checkpoints(paths, out, TIES(), base=base, strip_prefix="model")  # the dot may be left out
    expected = TIES()([state(0), state(1)], state(2))
    assert all(torch.equal(t, expected[name]) for name, t in read_checkpoint(out).items())


def test_prefixes_that_cannot_be_taken_off(tmp_path):
    paths, out = saved(tmp_path, "", "model."), tmp_path / "out.safetensors"
    message = refused(paths, out, strip_prefix="mode")
    assert f"No tensor has the prefix 'mode.' of strip_prefix (--strip-prefix): the first is {NAMES[0]!r}" in message
    torch.save(state(0) | state(0, "model."), paths[0])
    assert f"{paths[0]} has a name with and without 'model.'" in refused(paths, out, strip_prefix=["model."])


@pytest.mark.parametrize("command", ["merge", "diagnose"])
def test_commands_take_them_off(tmp_path, command):
    words = [command, *map(str, saved(tmp_path, "model.", "net."))]
    words += ["-o", str(tmp_path / "out.safetensors")] if command == "merge" else []
    refusal = CliRunner().invoke(app, words)
    assert refusal.exit_code == 2
    assert "(--strip-prefix model. --strip-prefix net.)." in refusal.output
    result = CliRunner().invoke(app, [*words, "--strip-prefix", "model.", "--strip-prefix", "net."])
    assert result.exit_code == 0
    assert result.output.count("is taken off 4 of 4 names.") == 2
