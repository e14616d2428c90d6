"""The oracle of vectorized modules: a loop over the members, one after another."""

import copy

import torch
from torch.utils._pytree import tree_flatten, tree_map

from skfusion._vectorized import Members, VectorizedModules

K = 3
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}


def tree_leaves(tree):
    return [leaf for leaf in tree_flatten(tree)[0] if leaf is not None]


def score(outputs, per_member):
    """Return one number for each member, in which every output takes part with a weight of its own."""
    total = 0.0
    for i, t in enumerate(tree_leaves(outputs)):
        value = t.value if per_member else t[None]
        weight = torch.randn(value.shape[1:], generator=torch.Generator().manual_seed(i)).to(value)
        total = total + (value * weight).reshape(len(value), -1).sum(1)
    return total


def loop(modules, inputs, training):
    """Return outputs, gradients by name, and gradients of the inputs, of one member after another."""
    found = []
    for k, (module, x) in enumerate(zip(modules, inputs, strict=True)):
        torch.manual_seed(100 + k)
        out = module.train(training)(*x)
        asked = [t for t in tree_leaves(x) if t.is_floating_point()]
        named = {n: p for n, p in module.named_parameters() if p.requires_grad}
        grads = torch.autograd.grad(score(out, False).sum(), [*named.values(), *asked])
        found.append((out, dict(zip(named, grads, strict=False)), grads[len(named) :]))
    return found


def all_at_once(vectorized, x, training):
    """Return what :func:`loop` returns, computed at once."""
    streams = [torch.Generator().manual_seed(100 + k) for k in range(len(vectorized.theta))]
    asked = [t.value if isinstance(t, Members) else t for t in tree_leaves(x) if t.is_floating_point()]
    with vectorized.running(training, streams) as module:
        out = module(*x)
        loss = score(out, True)
        of_inputs = torch.autograd.grad(loss.sum(), asked, retain_graph=True) if asked else ()
        grad = vectorized.gradient(loss)
    return [
        (
            tree_map(lambda t, k=k: t if t is None else t.value[k], out),
            vectorized.by_name(grad[k]),
            [g[k] if len(g) == K else g for g in of_inputs],
        )
        for k in range(len(vectorized.modules))
    ]


def assert_near(found, expected, scale, dtype, what):
    assert found.shape == expected.shape, what
    assert found.dtype == expected.dtype, what
    if expected.numel():
        gap = float((found - expected).detach().abs().max())
        assert gap <= TOLERANCE[dtype] * scale, f"{what}: off by {gap}"


def assert_like_the_loop(make, dtype, *x, training=True, shared=False):
    """Compare K vectorized modules with a loop over them; inputs carry a member axis unless they are shared."""
    modules = [make().to(dtype) for _ in range(K)]
    alone = copy.deepcopy(modules)
    per_member = [tree_map(lambda t, k=k: t if shared else t[k], x) for k in range(K)]
    fresh = tree_map(lambda t: t.clone().requires_grad_(t.is_floating_point()), per_member)
    expected = loop(alone, fresh, training)
    own = tree_map(lambda t: t.clone().requires_grad_(t.is_floating_point()), x)
    vectorized = VectorizedModules(modules)
    found = all_at_once(vectorized, tree_map(lambda t: t if shared else Members(t), own), training)
    largest = 1 + max(float(g.abs().max()) for _, named, _ in expected for g in named.values())
    for k, ((out, grads, of_inputs), (out_k, grads_k, of_inputs_k)) in enumerate(zip(found, expected, strict=True)):
        for a, b in zip(tree_leaves(out), tree_leaves(out_k), strict=True):
            assert_near(a, b, 1 + float(b.detach().abs().max()), dtype, f"output of {k}")
        assert list(grads) == list(grads_k)
        for name, g in grads_k.items():
            assert_near(grads[name], g, largest, dtype, f"gradient of {name} of {k}")
        for a, b in zip(of_inputs, of_inputs_k, strict=True):
            if not shared:
                assert_near(a, b, largest, dtype, f"gradient of an input of {k}")
        buffers = dict(vectorized.modules[k].named_buffers())
        assert list(buffers) == [name for name, _ in alone[k].named_buffers()]
        for name, b in alone[k].named_buffers():
            assert_near(buffers[name], b, 1 + float(b.abs().max()), dtype, f"buffer {name} of {k}")
