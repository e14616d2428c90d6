"""Find the permutation symmetries of any network, by running it once and following its units through each operation.

The idea. Every axis of every weight starts as an *atom*: a set of units that could be exchanged freely. The module then
runs on an example, and every ATen operation says which units must move together: a matrix product unifies the columns
of one factor with the rows of the other, an addition unifies its operands, a lookup by number pins an axis. Atoms that
are still free after the run are the groups of the symmetry.

In the order of reading: `_axis` (atoms, and the labels that say which unit is at which position), `_atoms`, `_bind`,
`_unify` and `_reshape` (one class in layers, the algebra of labels: pin, restrict, bind, split, unify, reshape),
`_engine` (labels of whole tensors), `rules/` (what each operation says), `_tracer` and `_trace` (the run), `_assemble`
(labels of weights to a `Symmetry`), `_proof` (permuted copies must give the same outputs) and
`_symmetry_of`, which calls them. `_reader` hands out the activations where groups are observed.

This room imports `symmetry`, `state`, `_random` and `_numbers`. To follow another operation, add a :func:`rule` to the
file of its family in `rules/`; what no rule is sure about is pinned, which is always right.
"""

from skfusion.tracing._call import Call, rule
from skfusion.tracing._reader import reading
from skfusion.tracing._run import plain_kernels
from skfusion.tracing._symmetry_of import symmetry_of

__all__ = ["Call", "plain_kernels", "reading", "rule", "symmetry_of"]
