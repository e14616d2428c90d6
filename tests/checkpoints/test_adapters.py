"""Adapters are no networks: their factors are not averaged apart, and the remedy is."""

import json

import pytest
import safetensors.torch
import torch
from typer.testing import CliRunner

from skfusion.checkpoints import merge_checkpoints, read_checkpoint
from skfusion.cli import app
from skfusion.merge import Uniform
from skfusion.pool import Member, ModelPool

REMEDY = "model.merge_and_unload() of peft, save the whole networks, and give those."
RANK, WIDTH = 4, 32


def adapter(seed):
    """Return a LoRA adapter of one layer, as peft writes it."""
    generator = torch.Generator().manual_seed(seed)
    start = "base_model.model.layer.lora_"
    return {
        f"{start}A.weight": torch.randn(RANK, WIDTH, generator=generator),
        f"{start}B.weight": torch.randn(WIDTH, RANK, generator=generator),
    }


def change(state, alpha):
    """Return what an adapter adds to the weight of its layer."""
    A, B = state.values()
    return alpha / RANK * B @ A


@pytest.fixture
def folders(tmp_path):
    """Two folders of peft."""
    for k in range(2):
        (tmp_path / f"{k}").mkdir()
        safetensors.torch.save_file(adapter(k), tmp_path / f"{k}" / "adapter_model.safetensors")
        config = {"peft_type": "LORA", "r": RANK, "lora_alpha": 8 * (k + 1)}
        (tmp_path / f"{k}" / "adapter_config.json").write_text(json.dumps(config))
    return [tmp_path / "0", tmp_path / "1"]


def refused(path):
    with pytest.raises(ValueError, match="Merge each adapter into its base first") as caught:
        read_checkpoint(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("alphas", [(8, 8), (8, 32)])
def test_the_average_of_the_factors_is_not_that_of_the_products(alphas):
    states = [adapter(k) for k in range(2)]
    expected = sum(change(s, alpha) for s, alpha in zip(states, alphas, strict=True)) / 2
    apart = change(Uniform()(states), alphas[0])
    assert torch.linalg.norm(apart - expected) > 0.5 * torch.linalg.norm(expected)


def test_whole_networks_with_the_adapters_in_them_are_merged_rightly(tmp_path):
    base = torch.randn(WIDTH, WIDTH, generator=torch.Generator().manual_seed(9))
    for k in range(2):
        torch.save({"layer.weight": base + change(adapter(k), 8)}, tmp_path / f"{k}.pt")
    merge_checkpoints([tmp_path / "0.pt", tmp_path / "1.pt"], tmp_path / "out.safetensors", Uniform())
    expected = base + (change(adapter(0), 8) + change(adapter(1), 8)) / 2
    torch.testing.assert_close(read_checkpoint(tmp_path / "out.safetensors")["layer.weight"], expected)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("base_model.model.q_proj.lora_A.weight", "LoRA"),
        ("q_proj.lora_B.default.weight", "LoRA"),
        ("q_proj.lora_A", "LoRA"),
        ("embed.lora_embedding_A", "LoRA"),
        ("q_proj.lora_a.weight", "LoRA"),
        ("unet.to_q.lora.down.weight", "LoRA"),
        ("lora_unet_to_q.lora_up.weight", "LoRA"),
        ("base_model.model.q_proj.lora_magnitude_vector", "DoRA"),
        ("q_proj.lora_magnitude_vector.default.weight", "DoRA"),
        ("base_model.model.k_proj.ia3_l", "IA3"),
        ("k_proj.ia3_l.default", "IA3"),
    ],
)
@pytest.mark.parametrize("wrapped", [False, True])
def test_adapters_are_known_by_the_names_of_their_tensors(tmp_path, name, kind, wrapped):
    state = {"q_proj.weight": torch.ones(2), name: torch.ones(2)}
    torch.save({"state_dict": state} if wrapped else state, tmp_path / "a.pt")
    assert refused(tmp_path / "a.pt").startswith(f"{tmp_path / 'a.pt'} holds a {kind} adapter (tensor {name!r}). ")


def test_an_adapter_with_magnitudes_is_called_by_them(tmp_path):
    torch.save(adapter(0) | {"layer.lora_magnitude_vector": torch.ones(2)}, tmp_path / "a.pt")
    assert "holds a DoRA adapter" in refused(tmp_path / "a.pt")


@pytest.mark.parametrize("name", ["exploration_A.weight", "lora.weight", "flora_A.weight", "sophia3_l.weight"])
def test_other_names_are_not_taken_for_adapters(tmp_path, name):
    torch.save({name: torch.ones(2)}, tmp_path / "a.pt")
    assert [*read_checkpoint(tmp_path / "a.pt")] == [name]


@pytest.mark.parametrize("config", ['{"peft_type": "VERA"}', "{}", "[", "[" * 100_000])
def test_an_adapter_is_known_by_its_config(tmp_path, config):
    torch.save({"shared": torch.ones(2)}, tmp_path / "adapter_model.bin")
    (tmp_path / "adapter_config.json").write_text(config)
    what = "an adapter of the type 'VERA'" if "VERA" in config else "an adapter, as adapter_config.json says"
    assert what in refused(tmp_path)
    torch.save({"w": torch.ones(2)}, tmp_path / "merged.pt")  # the remedy, saved into the same folder
    assert [*read_checkpoint(tmp_path / "merged.pt")] == ["w"]


def test_every_command_refuses_them(folders, tmp_path):
    out = tmp_path / "out.safetensors"
    for words in (["merge", *folders, "-o", out], ["diagnose", *folders]):
        result = CliRunner().invoke(app, [str(word) for word in words])
        assert result.exit_code == 2
        assert "0 holds a LoRA adapter (tensor 'base_model.model.layer.lora_A.weight')." in result.output
        assert REMEDY in result.output
        assert result.output.count("\n") == 1
    assert not out.exists()


def test_as_a_base_and_as_a_member_of_a_pool_they_are_refused_too(folders, tmp_path):
    ModelPool([Member("a", adapter(0))]).save(tmp_path / "pool")
    torch.save({"w": torch.ones(2)}, tmp_path / "a.pt")
    for paths, base in (([tmp_path / "pool"], None), ([tmp_path / "a.pt"], folders[0])):
        with pytest.raises(ValueError, match="holds a LoRA adapter"):
            merge_checkpoints(paths, tmp_path / "out.safetensors", Uniform(), base=base)
