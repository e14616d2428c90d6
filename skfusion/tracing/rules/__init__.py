"""How ATen operations label their outputs: one file a family, one rule for operations that behave alike."""

from skfusion.tracing.rules import _constant, _index, _norm, _pointwise, _reduce, _shape, _spatial
from skfusion.tracing.rules._attention import ATTENTION
from skfusion.tracing.rules._contraction import LINEAR
from skfusion.tracing.rules._convolution import CONVOLUTIONS

CONTRACTIONS = frozenset({*LINEAR, *CONVOLUTIONS, *ATTENTION})
"""Operations between which units stand: their outputs and the activations that they consume are sites."""

__all__ = ["CONTRACTIONS", "_constant", "_index", "_norm", "_pointwise", "_reduce", "_shape", "_spatial"]
