"""Loggers of skorch see the trainings of members when these are done, whichever way members were trained."""

from __future__ import annotations

import math
from typing import Any

from skorch.callbacks import Callback
from skorch.history import History

from skfusion.nets._restored import restored
from skfusion.pool import Member


def replay(member: Member, callback: Callback, net: Any = None) -> None:
    """Let a logger of skorch see the training of a member, epoch by epoch, from the history that the member keeps.

    So each member has a run of its own in MLflow, Weights & Biases or TensorBoard, whether members were trained one
    after another, in several processes, or vectorized, and also where the pool was loaded from a folder.

    Parameters
    ----------
    member : Member
        With a ``history`` in its ``meta``, as collectors leave it.
    callback : skorch.callbacks.Callback
        Such as ``MlflowLogger``, ``WandbLogger``, ``TensorBoard`` or ``PrintLog``, made for this member. It is
        initialised, and called at the beginning, in each epoch and at the end, as in a training.
    net : skorch net, optional
        The unfitted net that the member belongs to, for callbacks that look at more than the history; that of the
        member when omitted. Members from a folder have none.

    Notes
    -----
    The net that the callback sees has the weights that the member keeps, in every epoch, and a new optimiser. It has no
    rows, and single batches are not reported.

    Examples
    --------
    >>> from skorch.callbacks import Callback
    >>> from skfusion.nets import replay
    >>> from skfusion.pool import Member
    >>> class PrintLosses(Callback):
    ...     def on_epoch_end(self, net, **kwargs):
    ...         print(net.history[-1, "train_loss"])
    >>> history = [{"epoch": 1, "train_loss": 0.5}, {"epoch": 2, "train_loss": 0.25}]
    >>> replay(Member("seed-0", {}, meta={"history": history}), PrintLosses())
    0.5
    0.25
    """
    rows = member.meta.get("history")
    if not rows:
        raise ValueError(
            f"Member {member.name!r} has no history of its training, so there is nothing to replay. Members of "
            "collectors have one; of other members log the score and the settings."
        )
    net = member.net if net is None else net
    seen = _WithoutNet(member.name) if net is None else restored(net, member.state)
    seen.history_, seen.verbose = History(), 1
    callback.initialize()
    callback.on_train_begin(seen, X=None, y=None)
    least: dict[str, float] = {}
    for row in rows:
        callback.on_epoch_begin(seen, dataset_train=None, dataset_valid=None)
        seen.history.append(_with_marks(row, least))
        callback.on_epoch_end(seen, dataset_train=None, dataset_valid=None)
    callback.on_train_end(seen, X=None, y=None)


def _with_marks(row: dict[str, Any], least: dict[str, float]) -> dict[str, Any]:
    """Return a row as skorch writes it: with whether a loss is the least so far, which some loggers ask."""
    marks = {}
    for name in ("train_loss", "valid_loss"):
        if name in row:
            marks[f"{name}_best"] = row[name] < least.get(name, math.inf)
            least[name] = min(row[name], least.get(name, math.inf))
    return {"batches": [], **row, "epoch": int(row["epoch"]), **marks}


class _WithoutNet:
    """What a callback sees where the architecture is not known: a history, and an error that says what to do."""

    history_: History
    verbose: int

    def __init__(self, name: str):
        self.name = name

    @property
    def history(self) -> History:
        """The rows so far."""
        return self.history_

    def __getattr__(self, attribute: str) -> Any:
        raise AttributeError(
            f"This callback asks for the {attribute} of a net, and that of member {self.name!r} is not known: give "
            "replay(member, callback, net), or let the callback log numbers only, as MlflowLogger(create_artifact="
            "False) does."
        )
