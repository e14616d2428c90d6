"""The matrices inside attention are solved for on what each of them multiplies."""

import numpy as np
import pytest
import torch
from merge.problems import assert_close, batch, normal, objective, own, states
from reference import regmean as reference
from torch import nn

from skfusion.merge import RegMean, Uniform
from skfusion.merge._base import tied
from skfusion.merge.statistics._matrices import matrices


class Crossed(nn.Module):
    """Attention whose queries, keys and values are not the same, read as samples or as tokens first."""

    def __init__(self, kdim=None, vdim=None, bias=True, batch_first=True):
        super().__init__()
        self.attend = nn.MultiheadAttention(4, 2, bias=bias, kdim=kdim, vdim=vdim, batch_first=batch_first)
        self.first = batch_first

    def forward(self, q, k, v):
        q, k, v = (t if self.first else t.transpose(0, 1) for t in (q, k, v))
        out = self.attend(q, k, value=v, need_weights=False)[0]
        return out if self.first else out.transpose(0, 1)


def projections(state, kdim, bias):
    """Weight and bias of the three, as rows of one tensor or tensors of their own, with their bias as a last column."""
    if kdim is None:
        weights = state["attend.in_proj_weight"].split(4)
    else:
        weights = [state[f"attend.{part}_proj_weight"] for part in "qkv"]
    if not bias:
        return [w.numpy() for w in weights]
    biases = state["attend.in_proj_bias"].split(4)
    return [torch.cat([w, b[:, None]], 1).numpy() for w, b in zip(weights, biases, strict=True)]


def heads(state, x, kdim, bias):
    """What the last matrix multiplies: softmax(q k / sqrt(2)) v, head by head, in loops."""
    projected = []
    for name, matrix in zip("qkv", projections(state, kdim, bias), strict=True):
        rows = x[name].numpy()
        rows = np.concatenate([rows, np.ones((*rows.shape[:2], 1))], 2) if bias else rows
        projected.append(rows @ matrix.T)
    q, k, v = projected
    found = np.zeros_like(q)
    for sample in range(len(q)):
        for head in (slice(0, 2), slice(2, 4)):
            scores = q[sample, :, head] @ k[sample, :, head].T / np.sqrt(2)
            shares = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
            found[sample, :, head] = shares @ v[sample, :, head]
    return found


def rows_of(x, bias):
    rows = np.asarray(x).reshape(-1, x.shape[-1])
    return reference.with_bias(rows) if bias else rows


def inputs(n, kdim, vdim, seed):
    k, v = normal(n, 5, kdim or 4, seed=seed + 1), normal(n, 5, vdim or 4, seed=seed + 2)
    return {"q": normal(n, 3, 4, seed=seed), "k": k, "v": v}


@pytest.mark.parametrize(("kdim", "vdim"), [(None, None), (3, 5)])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("batch_first", [True, False])
def test_attention_is_solved_matrix_by_matrix(kdim, vdim, bias, batch_first):
    module = Crossed(kdim, vdim, bias, batch_first).double()
    each = [inputs(n, kdim, vdim, seed) for n, seed in ((20, 0), (30, 10))]
    members, report = states(module, 2), {}
    found = RegMean(0.8, ridge=0.0)(
        members, None, objective(module, member_batches=own(*each), report=report.__setitem__)
    )
    assert report["layers"] == [f"attend.{part}_proj" for part in ("k", "out", "q", "v")]
    theirs = [projections(s, kdim, bias) for s in members]
    for i, (name, now) in enumerate(zip("qkv", projections(found, kdim, bias), strict=True)):
        rows = [rows_of(x[name], bias) for x in each]
        expected = reference.regmean(rows, [t[i] for t in theirs], 0.8, normalise=True)
        np.testing.assert_allclose(now, expected, rtol=0, atol=1e-10)
    rows = [rows_of(heads(s, x, kdim, bias), bias) for s, x in zip(members, each, strict=True)]
    last = [s["attend.out_proj.weight"] for s in (*members, found)]
    if bias:
        biases = [s["attend.out_proj.bias"][:, None] for s in (*members, found)]
        last = [torch.cat(pair, 1) for pair in zip(last, biases, strict=True)]
    expected = reference.regmean(rows, [w.numpy() for w in last[:2]], 0.8, normalise=True)
    np.testing.assert_allclose(last[2].numpy(), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("batch_first", [True, False])
def test_rows_of_attention_have_the_weights_of_their_samples(batch_first):
    module = Crossed(batch_first=batch_first).double()
    members, x = states(module, 2), inputs(9, None, None, 0)
    counts = torch.tensor([1, 2, 0, 3, 1, 1, 0, 2, 1])
    twice = {k: t.repeat_interleave(counts, 0) for k, t in x.items()}
    other = batch(inputs(7, None, None, 20))

    def found(b):
        rows = (lambda: [b], lambda: [other])
        return RegMean()(members, None, objective(module, member_batches=rows))

    assert_close(found(batch(x, counts.double())), found(batch(twice)), 1e-10)


def test_attention_is_left_out_by_its_name_its_type_or_a_part():
    module = Crossed().double()
    each = [inputs(n, None, None, seed) for n, seed in ((20, 0), (30, 10))]
    members = states(module, 2)
    whole, mean = RegMean()(members, None, objective(module, member_batches=own(*each))), Uniform()(members)
    for skip in (["attend"], [nn.MultiheadAttention]):
        with pytest.raises(ValueError, match="leaves no layer to solve for"):
            RegMean(skip=skip)(members, None, objective(module, member_batches=own(*each)))
    found = RegMean(skip=["*.k_proj", "*.out_proj"])(members, None, objective(module, member_batches=own(*each)))
    for key in ("attend.in_proj_weight", "attend.in_proj_bias"):
        for i, expected in enumerate((whole, mean, whole)):
            rows = slice(4 * i, 4 * i + 4)
            torch.testing.assert_close(found[key][rows], expected[key][rows], rtol=0, atol=1e-12)
    assert torch.equal(found["attend.out_proj.weight"], mean["attend.out_proj.weight"])


def test_encoder_layers_with_masks_leave_module_and_settings_as_they_were():
    module = nn.TransformerEncoderLayer(4, 2, 6, dropout=0.5, batch_first=True).double()
    encoder = nn.TransformerEncoder(module, 2, enable_nested_tensor=False)
    members, report, seen = states(encoder, 2), {}, []
    encoder.layers[0].self_attn.register_forward_pre_hook(lambda *_: seen.append(1))
    mask = torch.zeros(8, 3, dtype=torch.bool)
    mask[::2, 2] = True
    each = [{"src": normal(8, 3, 4, seed=seed), "src_key_padding_mask": mask} for seed in (0, 1)]
    before = {k: t.clone() for k, t in encoder.state_dict().items()}
    RegMean()(members, None, objective(encoder, member_batches=own(*each), report=report.__setitem__))
    parts = [f"self_attn.{p}_proj" for p in ("k", "out", "q", "v")]
    assert report["layers"] == [f"layers.{i}.{p}" for i in (0, 1) for p in ("linear1", "linear2", *parts)]
    assert len(seen) == 2  # once a batch: what users have hooked on runs no more often than the network
    assert torch.backends.mha.get_fastpath_enabled()
    assert all(torch.equal(t, before[k]) for k, t in encoder.state_dict().items())
    assert all(len(part._forward_pre_hooks) == (part is encoder.layers[0].self_attn) for part in encoder.modules())
    assert isinstance(encoder.layers[1].self_attn.out_proj, nn.Linear)


@pytest.mark.parametrize("shared", ["in_proj_weight", "in_proj_bias"])
def test_attention_that_shares_one_of_its_tensors_is_left(shared):
    module = nn.ModuleDict({name: nn.MultiheadAttention(4, 2) for name in "abc"})
    setattr(module["b"], shared, getattr(module["a"], shared))
    found = matrices(module, tied(states(module, 2), module))
    assert {name.partition(".")[0] for name in found if "_proj" in name and "out_proj" not in name} == {"c"}
    assert {"a.out_proj", "b.out_proj", "c.q_proj", "c.k_proj", "c.v_proj", "c.out_proj"} == {*found}
