"""Find the permutation symmetries of any network, by running it once and following its units through each operation.

The idea. Every axis of every weight starts as an *atom*: a set of units that could be exchanged freely. The module then
runs on an example, and every ATen operation says which units must move together: a matrix product unifies the columns
of one factor with the rows of the other, an addition unifies its operands, a lookup by number pins an axis. Atoms that
are still free after the run are the groups of the symmetry.

In the order of reading: `algebra/` (labels, which say which unit is at which position, and what makes units move
together), `_call` and `rules/` (what each operation says), `_tracer` and `_trace` (the run), `_assemble` (labels of
weights to a `Symmetry`), `_run` (copies of modules) and `_proof` (permuted copies must give the same outputs), and
`_symmetry_of`, which calls them. `_general` looks for symmetries beyond permutations, by gradients (`_invariants`).
`_reader` hands out the activations where groups are observed.

This room imports `symmetry`, `state`, `_random` and `_numbers`. To follow another operation, add a :func:`rule` to the
file of its family in `rules/`; what no rule is sure about is pinned, which is always right.
"""

from skfusion.tracing._call import Call, rule
from skfusion.tracing._reader import as_parameters, reading
from skfusion.tracing._run import arguments_of, copied, plain_kernels, run, twin
from skfusion.tracing._symmetry_of import Example, symmetry_of

__all__ = ["Call", "as_parameters", "plain_kernels", "reading", "rule", "symmetry_of"]
