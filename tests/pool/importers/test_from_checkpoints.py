"""Checkpoints of other libraries become members: names fit a module, scores are read, adapters merged, no code run."""

import json
import math
import pickle

import numpy as np
import pytest
import safetensors.torch
import torch
from skorch import NeuralNetClassifier
from skorch.callbacks import Checkpoint
from skorch.dataset import ValidSplit
from torch import nn

from skfusion import EnsembleClassifier, SoupClassifier
from skfusion.merge import TaskArithmetic, Uniform
from skfusion.pool import ModelPool

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 4)).astype(np.float32)
Y = (X[:, 0] > 0).astype(np.int64)


def module(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))


def equal(state, other):
    return state.keys() == other.keys() and all(torch.equal(state[k], other[k]) for k in state)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".pth", ".bin"])
@pytest.mark.parametrize("prefix", ["", "model.", "net.", "module.model."])
def test_files_of_a_pattern_are_members(tmp_path, suffix, prefix):
    for seed in range(3):
        state = {prefix + k: v for k, v in module(seed).state_dict().items()}
        path = tmp_path / f"run-{seed}{suffix}"
        safetensors.torch.save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    pool = ModelPool.from_checkpoints(str(tmp_path / f"*{suffix}"), module=module(), classes=[0, 1])
    assert pool.names == ["run-0", "run-1", "run-2"]
    assert all(equal(pool[k].state, module(k).state_dict()) for k in range(3))
    assert pool[1].meta["source"] == str(tmp_path / f"run-1{suffix}")
    assert len(pool.grouped(one_start=True)[0]) == 3


def test_files_of_lightning(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        state = {f"model.{k}": v for k, v in module(name == "b").state_dict().items()}
        state["train_loss.weight"] = torch.ones(2)  # of a weighted loss or a metric
        checkpoint = {"epoch": 3, "global_step": 12, "pytorch-lightning_version": "2.5.0", "state_dict": state}
        torch.save(
            {**checkpoint, "optimizer_states": [], "hyper_parameters": {"lr": 0.1}}, tmp_path / name / "last.ckpt"
        )
    pool = ModelPool.from_checkpoints(f"{tmp_path}/*/last.ckpt", module=module())
    assert pool.names == ["a/last.ckpt", "b/last.ckpt"]
    assert equal(pool[1].state, module(1).state_dict())


def net(**params):
    defaults = {"criterion": nn.CrossEntropyLoss, "max_epochs": 4, "lr": 0.1, "verbose": 0}
    return NeuralNetClassifier(module(), **{**defaults, **params})


@pytest.mark.parametrize("use_safetensors", [False, True])
@pytest.mark.parametrize("monitor", ["valid_loss_best", "valid_acc_best"])
def test_folders_of_a_checkpoint_of_skorch_have_its_score(tmp_path, monitor, use_safetensors):
    for name, lr in (("slow", 0.01), ("fast", 0.5)):
        saved = Checkpoint(
            dirname=str(tmp_path / name), monitor=monitor, use_safetensors=use_safetensors, f_optimizer=None
        )
        trained = net(callbacks=[saved], lr=lr, train_split=ValidSplit(3)).fit(X, Y)
    pool = ModelPool.from_checkpoints(str(tmp_path / "*"), module=net(), rows=(X, Y))
    assert pool.names == ["fast", "slow"]
    epoch = next(row for row in reversed(trained.history) if row["event_cp"])
    assert pool["fast"].score == pytest.approx(epoch["valid_acc"])
    assert pool["fast"].meta["epoch"] == epoch["epoch"]
    assert pool["fast"].meta["score_is"] == "valid_acc"
    assert pool.classes.tolist() == [0, 1]
    assert len(pool["slow"].rows) == 60
    soup = SoupClassifier(collect=pool, merge=Uniform()).fit(X, Y)
    assert soup.predict(X).shape == (60,)


def test_files_of_save_params_and_a_history_without_accuracy(tmp_path):
    trained = net().fit(X, Y)
    trained.save_params(f_params=str(tmp_path / "params.pt"), f_history=str(tmp_path / "history.json"))
    (alone,) = ModelPool.from_checkpoints([tmp_path / "params.pt"], module=module())
    assert math.isnan(alone.score)
    assert equal(alone.state, trained.module_.state_dict())
    rows = [
        {k: v for k, v in row.items() if k != "valid_acc"}
        for row in json.loads((tmp_path / "history.json").read_text())
    ]
    (tmp_path / "history.json").write_text(json.dumps(rows))
    (member,) = ModelPool.from_checkpoints([tmp_path], module=module())
    assert member.score == pytest.approx(-trained.history[-1, "valid_loss"])
    (tmp_path / "history.json").write_text("[]")
    with pytest.raises(ValueError, match="is no history of skorch"):
        ModelPool.from_checkpoints([tmp_path], module=module())


@pytest.mark.parametrize("sharded", [False, True])
def test_folders_of_hugging_face(tmp_path, sharded):
    for k in range(2):
        folder = tmp_path / f"checkpoint-{k}"
        folder.mkdir()
        (folder / "config.json").write_text("{}")
        torch.save({"lr": 0.1}, folder / "training_args.bin")
        state = {f"encoder.{n}": t for n, t in module(k).state_dict().items()}
        if not sharded:
            safetensors.torch.save_file(state, folder / "model.safetensors")
            continue
        names = [*state]
        places = {n: f"model-0000{1 + (i > 1)}-of-00002.safetensors" for i, n in enumerate(names)}
        for shard in {*places.values()}:
            safetensors.torch.save_file({n: state[n] for n in names if places[n] == shard}, folder / shard)
        (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    pool = ModelPool.from_checkpoints(f"{tmp_path}/checkpoint-*", module=module(), base=tmp_path / "checkpoint-0")
    assert pool.names == ["checkpoint-0", "checkpoint-1"]
    assert equal(pool[1].state, module(1).state_dict())
    assert equal(pool.base, module(0).state_dict())
    assert EnsembleClassifier(net(), collect=pool).fit(X, Y).predict_proba(X).shape == (60, 2)
    assert SoupClassifier(net(), collect=pool, merge=TaskArithmetic(scale=0.5)).fit(X, Y).predict(X).shape == (60,)


# -------------------------------------------------------------------------------------------------------- adapters


RANKS = {"0": 3, "2": 2}


def factors(seed=1, ranks=RANKS):
    generator = torch.Generator().manual_seed(seed)
    sizes = {"0": (6, 4), "2": (2, 6)}
    return {
        layer: (
            torch.randn(r, sizes[layer][1], generator=generator),
            torch.randn(sizes[layer][0], r, generator=generator),
        )
        for layer, r in ranks.items()
    }


def write_adapter(folder, pairs, more=None, **config):
    """Write an adapter as peft does."""
    folder.mkdir()
    start = "base_model.model."
    tensors = {
        f"{start}{layer}.lora_{k}.weight": t for layer, pair in pairs.items() for k, t in zip("AB", pair, strict=True)
    }
    safetensors.torch.save_file({**tensors, **(more or {})}, folder / "adapter_model.safetensors")
    settings = {"peft_type": "LORA", "r": 3, "lora_alpha": 6, "bias": "none", "rank_pattern": {"2": 2}, **config}
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    return folder


@pytest.mark.parametrize(
    ("config", "scales"),
    [
        ({}, {"0": 6 / 3, "2": 6 / 2}),
        ({"use_rslora": True}, {"0": 6 / math.sqrt(3), "2": 6 / math.sqrt(2)}),
        ({"alpha_pattern": {"2": 1.0}}, {"0": 6 / 3, "2": 1 / 2}),
    ],
)
def test_an_adapter_is_merged_as_its_layers_compute(tmp_path, config, scales):
    write_adapter(tmp_path / "a", pairs := factors(), **config)
    base = module()
    (member,) = ModelPool.from_checkpoints([tmp_path / "a"], module=base)
    x = torch.from_numpy(X)

    def adapted(layer, z):  # W x + s B (A x), as in training
        A, B = pairs[layer]
        return base[int(layer)](z) + scales[layer] * (z @ A.T) @ B.T

    merged = module(5)
    merged.load_state_dict(member.state)
    with torch.no_grad():
        assert torch.allclose(merged(x), adapted("2", torch.relu(adapted("0", x))), atol=1e-5)
    assert equal(base.state_dict(), module().state_dict())  # the module is as it was
    assert member.meta["adapter"] == "a"


def test_an_adapter_has_its_base_beside_or_under_a_prefix(tmp_path):
    write_adapter(tmp_path / "a", factors())
    state = module().state_dict()
    torch.save({f"net.{k}": v for k, v in state.items()}, tmp_path / "base.pt")
    plain = ModelPool.from_checkpoints([tmp_path / "a"], base=state)
    with_prefix = ModelPool.from_checkpoints([tmp_path / "a"], base=tmp_path / "base.pt")
    fitted = ModelPool.from_checkpoints([tmp_path / "a"], base=tmp_path / "base.pt", module=module())
    assert equal(plain[0].state, fitted[0].state)
    assert equal({f"net.{k}": v for k, v in plain[0].state.items()}, with_prefix[0].state)
    assert equal(plain.base, state)
    with pytest.raises(ValueError, match=r"is an adapter of PEFT.*give that as base="):
        ModelPool.from_checkpoints([tmp_path / "a"])


def test_heads_that_were_trained_whole_and_transposed_layers(tmp_path):
    head = torch.full((2, 6), 0.5)
    write_adapter(tmp_path / "a", {"0": factors()["0"]}, {"base_model.model.2.weight": head}, rank_pattern={})
    assert torch.equal(ModelPool.from_checkpoints([tmp_path / "a"], module=module())[0].state["2.weight"], head)
    A, B = factors()["0"]
    write_adapter(tmp_path / "t", {"0": (A, B)}, fan_in_fan_out=True)
    base = {"0.weight": torch.zeros(4, 6)}
    (member,) = ModelPool.from_checkpoints([tmp_path / "t"], base=base)
    assert torch.allclose(member.state["0.weight"], 2 * (B @ A).T)


def test_weights_of_half_precision_are_added_in_single(tmp_path):
    write_adapter(tmp_path / "a", pairs := factors())
    base = {k: v.to(torch.bfloat16) for k, v in module().state_dict().items()}
    (member,) = ModelPool.from_checkpoints([tmp_path / "a"], base=base)
    A, B = pairs["0"]
    expected = (base["0.weight"].float() + 2 * B @ A).to(torch.bfloat16)
    assert torch.equal(member.state["0.weight"], expected)


@pytest.mark.parametrize(
    ("config", "what"),
    [
        ({"peft_type": "IA3"}, "an adapter of the type 'IA3'"),
        ({"use_dora": True}, "use_dora=True"),
        ({"bias": "all"}, "bias='all'"),
        ({"lora_bias": True}, "lora_bias=True"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights='pissa', which has changed the base"),
        ({"layer_replication": [[0, 2]]}, r"layer_replication=\[\[0, 2\]\]"),
    ],
)
def test_other_adapters_are_refused_by_name(tmp_path, config, what):
    write_adapter(tmp_path / "a", factors(), **config)
    with pytest.raises(ValueError, match=rf"has {what}; only plain LoRA is merged here.*merge_and_unload"):
        ModelPool.from_checkpoints([tmp_path / "a"], module=module())


def test_adapters_that_do_not_fit_are_named(tmp_path):
    A, B = factors()["0"]
    cases = {
        "elsewhere": ({"7": (A, B)}, {}, "changes '7.weight', which the base does not have"),
        "wide": ({"0": (A, torch.ones(9, 3))}, {}, r"layer '0' of shape \(9, 4\), which has shape \(6, 4\)"),
        "rank": ({"0": (A, B)}, {"r": 8}, "has rank 3, and 8 in adapter_config.json"),
        "conv": ({"0": (A[:, :, None, None], B)}, {}, "factors of the layer '0' of shapes"),
    }
    for name, (pairs, config, message) in cases.items():
        write_adapter(tmp_path / name, pairs, **config)
        with pytest.raises(ValueError, match=message):
            ModelPool.from_checkpoints([tmp_path / name], module=module())
    start = "base_model.model."
    broken = {f"{start}0.lora_embedding_A": A, f"{start}0.lora_magnitude_vector": A, f"{start}0.base_layer.bias": A}
    for k, (tensor, value) in enumerate(broken.items()):
        write_adapter(tmp_path / f"b{k}", {"0": (A, B)}, {tensor: value.clone()})
        with pytest.raises(ValueError, match=f"has tensor '{tensor}'; only plain LoRA"):
            ModelPool.from_checkpoints([tmp_path / f"b{k}"], module=module())
    half = write_adapter(tmp_path / "half", {})
    safetensors.torch.save_file({f"{start}0.lora_A.weight": A}, half / "adapter_model.safetensors")
    with pytest.raises(ValueError, match="has only lora_A of the layer '0'"):
        ModelPool.from_checkpoints([half], module=module())
    (half / "adapter_config.json").write_text("[1]")
    with pytest.raises(ValueError, match="is no configuration of PEFT"):
        ModelPool.from_checkpoints([half], module=module())


# -------------------------------------------------------------------------------------------------------- bad input


class Bomb:
    def __reduce__(self):
        return print, ("executed",)


def test_nothing_is_run(tmp_path, capsys):
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(Bomb()))
    torch.save({"state_dict": {"w": torch.ones(1)}, "hyper_parameters": Bomb()}, tmp_path / "lightning.ckpt")
    for name in ("plain.pt", "lightning.ckpt"):
        with pytest.raises(ValueError, match="is refused"):
            ModelPool.from_checkpoints([tmp_path / name])
    assert capsys.readouterr().out == ""


def test_paths_that_are_none(tmp_path):
    with pytest.raises(FileNotFoundError, match="No file and no folder matches"):
        ModelPool.from_checkpoints(f"{tmp_path}/*.pt")
    with pytest.raises(TypeError, match="Give a pattern such as"):
        ModelPool.from_checkpoints({"a": "a.pt"})
    with pytest.raises(ValueError, match="list of checkpoints is empty"):
        ModelPool.from_checkpoints([])
    with pytest.raises(TypeError, match="module is the class"):
        ModelPool.from_checkpoints("x", module=nn.Linear)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "README.txt").write_text("mine")
    with pytest.raises(FileNotFoundError, match=r"no checkpoint .* in .*notes"):
        ModelPool.from_checkpoints(f"{tmp_path}/*")
    ModelPool.from_estimators([net().fit(X, Y)]).save(tmp_path / "pool")
    with pytest.raises(ValueError, match="is a pool, not a checkpoint"):
        ModelPool.from_checkpoints([tmp_path / "pool"])


def test_states_that_do_not_fit_the_module(tmp_path):
    torch.save(nn.Linear(3, 2).state_dict(), tmp_path / "other.pt")
    with pytest.raises(ValueError, match="in member 'other'.* in module, a Sequential"):
        ModelPool.from_checkpoints([tmp_path / "other.pt"], module=module())
    state = module().state_dict()
    both = {f"{p}.{k}": v for p in ("model", "ema") for k, v in state.items()}
    torch.save(both, tmp_path / "both.pt")
    with pytest.raises(ValueError, match=r"several prefixes, \['model.', 'ema.'\]"):
        ModelPool.from_checkpoints([tmp_path / "both.pt"], module=module())
