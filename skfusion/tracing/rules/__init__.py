"""What each ATen operation says about units: one file for each family of operations.

A rule (see :func:`skfusion.tracing.rule`) asks one question: if the units of the arguments are permuted, which of these
permutations must be the same for the result to be permuted as a whole, and how is it then? Operations with the same
answer share a rule. Rules import `_call` and `algebra`; importing them here registers them. To follow another
operation, decorate a function with ``@rule`` in the file of its family, and name a new file below.
"""

from skfusion.tracing.rules import _index, _pointwise, _reduce, _shape, _spatial
from skfusion.tracing.rules._contraction import CONTRACTIONS, contracted, matched
