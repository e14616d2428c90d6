"""The algebra of labels: which unit is at which position of an axis, and which units must move together.

In the order of reading: `_axis` (atoms, and the labels of axes), then one class in layers: `_atoms` (what is known of
atoms; pins), `_bind` (restrict, bind, split), `_unify` (two axes that must move together), `_reshape` (merge and cut
axes) and `_engine` (labels of whole tensors). It knows NumPy alone, and no tensor.
"""

from skfusion.tracing.algebra._axis import (
    Atom,
    Axis,
    Ints,
    atom_of,
    atoms_in,
    fixed_axes,
    fixed_axis,
    index_of,
    row_labels,
)
from skfusion.tracing.algebra._engine import Engine, Label
