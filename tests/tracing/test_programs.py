"""Random programs: what is verified is exact, and what is only traced is hardly ever wrong."""

import pytest
import torch
from tracing.checks import error, in_general_position
from tracing.programs import LAYERS, Program
from tracing.tensor_programs import TENSORS

from skfusion.tracing import symmetry_of
from skfusion.tracing.algebra._engine import Engine

N_PROGRAMS = 120


def wrong(ops, seeds, n_steps, verify):
    """Seeds of programs whose outputs change under one of two random elements."""
    found = []
    for seed in seeds:
        program = Program(seed, ops, n_steps)
        x = program.example()
        symmetry = symmetry_of(program, x, verify=verify)
        position = in_general_position(program, seed)
        if max(error(symmetry, position, x, element) for element in (10, 11)) > 1e-9:
            found.append(seed)
    return found


@pytest.mark.parametrize(("ops", "n_steps"), [(LAYERS, 8), (TENSORS, 10)], ids=["layers", "tensors"])
def test_traces_of_random_programs_are_sound(ops, n_steps):
    found = wrong(ops, range(N_PROGRAMS), n_steps, verify=False)
    assert len(found) <= 0.01 * N_PROGRAMS, found


@pytest.mark.parametrize(("ops", "n_steps"), [(LAYERS, 8), (TENSORS, 10)], ids=["layers", "tensors"])
def test_verified_symmetries_of_random_programs_are_exact(ops, n_steps):
    assert wrong(ops, range(1000, 1040), n_steps, verify=True) == []


def test_most_parameters_of_random_programs_move():
    moved = total = 0
    for seed in range(2000, 2040):
        program = Program(seed, LAYERS)
        found = symmetry_of(program, program.example(), verify=False)
        state = program.state_dict()
        moved += sum(state[name].numel() for name in found.parameters)
        total += sum(p.numel() for p in program.parameters())
    assert moved > 0.75 * total


def test_programs_find_rules_that_are_too_lax(monkeypatch):
    """Sums over an axis that others may still depend on: the programs see it, and the proof mends it."""
    monkeypatch.setattr(Engine, "contract", lambda engine, a, b, batch=(): engine.unify(a, b))
    monkeypatch.setattr(Engine, "restrict_axis", lambda engine, axis, allowed: None)
    lax = (68, 547, 719, 839, 948)
    bad = wrong(TENSORS, lax, 10, verify=False)
    assert bad
    for seed in bad:
        program = Program(seed, TENSORS, 10)
        with pytest.warns(UserWarning, match="frozen"):
            found = symmetry_of(program, program.example())
        assert error(found, in_general_position(program, seed), program.example()) <= 1e-9


def test_programs_are_the_same_in_every_run():
    a, b = (Program(3, LAYERS) for _ in range(2))
    assert [name for _, name in a.steps] == [name for _, name in b.steps]
    assert torch.equal(a(a.example()), b(b.example()))
