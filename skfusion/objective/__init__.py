"""What methods may ask of an architecture and its data.

:class:`Objective` is the protocol; :class:`ModuleObjective` is written by hand in a few lines; ``skfusion.nets.Judge``
is that of a skorch net and its rows. A ``Wrapper`` changes one thing of another objective. This room knows torch and
``skfusion.state`` only. A new question that methods ask is an attribute or a method of :class:`Objective` with a
default, so that objectives that were written before still work.
"""

from skfusion.objective._base import (
    Batch,
    Input,
    Likelihood,
    Objective,
    OfMember,
    Wrapper,
    call,
    evaluating,
    first_output,
    run,
)
from skfusion.objective._loss_scale import loss_scale
from skfusion.objective._module import ModuleObjective

__all__ = ["Batch", "Likelihood", "ModuleObjective", "Objective"]
