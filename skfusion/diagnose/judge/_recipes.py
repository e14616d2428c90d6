"""How to make what is recommended: code that gives the scores of the report, or a command where there is one."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field

ALIKE = {"weights": "with the most similar weights", "activations": "that is active on the same rows"}
"""To which unit an alignment matches a unit, as an end of a sentence."""


@dataclass(frozen=True)
class Recipes:
    """Writes code in the terms of whoever asked."""

    pool: str = "pool"  # what the code calls the pool of all members
    fit_data: str = "X_fit"  # the parameter that takes other rows for statistics
    net: bool = False  # whether the net has to be written, as members carry none, or were run by another one
    files: dict[str, str] = field(default_factory=dict)  # by member: its file, where `skfusion merge` can average them
    inputs: Sequence[str] = ()  # of such a command that averages all members
    kind: str = "Classifier"  # or Regressor: how the names of estimators end
    seed: int = 0  # of the matching of units
    batch_norm: bool = False  # whether there is BatchNorm to recalibrate
    where: str = ", where net is the skorch net of the members"  # said of names in the code, where the net is written

    def soup(self, members: Sequence[str] | None, how: str) -> str:
        """Return how to make the mean of some members, or of all where None, after alignment or without."""
        inputs = self.inputs if members is None else [self.files[name] for name in members if name in self.files]
        if how == "line" and inputs and (members is None or len(inputs) == len(members)):
            text = f"{shlex.join(['skfusion', 'merge', *inputs])} -o merged.safetensors --method uniform makes it."
            if self.batch_norm:
                text += (
                    " It averages the statistics of BatchNorm as numbers: estimate them again by "
                    "skfusion.repair.Recalibrate, as the score reported here has them."
                )
            return text
        parts = ["merge=Uniform()"]
        if how != "line":
            parts = [f"align={self._aligner(how, 'MergeMany')}", *parts]
        if how.endswith("_repair"):
            parts.append("repair=Repair()")
        return f"{self._estimator('Soup', members, *parts)} makes it{self._where()}{self._order(how)}."

    def recalibrate(self) -> str:
        """Return how to give all members recalibrated statistics."""
        module = "net.module" if self.inputs else "module"
        return (
            f"Recalibrate before you compare or merge: {self.pool}.replace([m.replace(state=Recalibrate()(m.state, [], "
            f"data)) for m in {self.pool}]), where data = ModuleObjective({module}, lambda: [Batch(x, y)]) holds their "
            "module and tensors of rows; see skfusion.repair and skfusion.objective."
        )

    def recalibrated(self, member: str) -> str:
        """Return how to give one member recalibrated statistics."""
        return f"Recalibrate()({self.pool}[{member!r}].state, [], data) makes its weights; a note says what data is."

    def ensemble(self) -> str:
        """Return how to average the predictions of all members."""
        return f"{self._estimator('Ensemble', None)} makes it{self._where()}."

    def curve(self, how: str | None) -> str:
        """Return the estimator that joins the members, after alignment where ``how`` names one."""
        align = [] if how is None else [f"align={self._aligner(how, 'WeightMatching')}"]
        return self._estimator("Curve", None, *align)

    def _estimator(self, kind: str, members: Sequence[str] | None, *parts: str) -> str:
        pool = self.pool if members is None else f"{self.pool}[{[*members]!r}]"
        return f"{kind}{self.kind}({', '.join([*(['net'] if self.net else []), f'collect={pool}', *parts])})"

    def _order(self, how: str) -> str:
        """Return what an alignment does, in a clause."""
        if how.startswith("activations"):
            return f": ActivationMatching() matches each unit to the one {ALIKE['activations']}"
        if how.startswith("weights"):
            return f": MergeMany() matches each unit to the one {ALIKE['weights']}, in all members at once"
        return ""

    def _aligner(self, how: str, by_weights: str) -> str:
        if how.startswith("activations"):
            return "ActivationMatching()"
        return f"{by_weights}({f'random_state={self.seed}' if self.seed else ''})"

    def _where(self) -> str:
        return self.where if self.net else ""
