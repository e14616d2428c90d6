"""DARE: drop and rescale (Yu et al., 2024)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from numbers import Integral
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from skfusion.merge._base import LinearMerger, Merge, Merger, OnGrid, one_each
from skfusion.merge._tensorwise import Entry, TensorMerger, base_of, task_vectors
from skfusion.merge.task_vectors._task_arithmetic import TaskArithmetic
from skfusion.objective import Objective
from skfusion.state import State


class DARE(TensorMerger):
    r"""Drop most of what each member has changed, enlarge the rest, and merge.

    Each number of a member's change is kept with probability :math:`1 - p`, independently of all others:

    .. math:: \tilde\theta_k = \theta_0 + \frac{m_k \odot (\theta_k - \theta_0)}{1 - p}, \qquad
        m_k \sim \operatorname{Bernoulli}(1 - p)

    so that the expected change is the change, and the members' changes seldom meet. The results are merged.

    Parameters
    ----------
    rate : float or sequence of float, default=0.9
        Probability p of dropping a number, in [0, 1); one for all, or one for each of the K members. A larger value
        leaves fewer and larger changes.
    merge : Merger, optional
        What merges the thinned members: a :class:`LinearMerger` whose coefficients depend on the number of members
        only, or a :class:`TensorMerger`; ``TaskArithmetic()`` when omitted. Of data it may ask a scale only, as
        ``TaskArithmetic(scale=None)`` and ``TIES(scale=None)`` do. Weights of members are parameters of it, too.
    random_state : int, default=0
        Seed of what is dropped. A number's fate depends on the seed, the name of its tensor and the position of its
        member only.

    Notes
    -----
    Costs O(K d) random numbers above the merge. The result is random: the variance of a number grows as :math:`p / (1 -
    p)` times its squared change. Where a scale is chosen, all values of the grid see the same draw, which is made anew
    for each. Try some seeds, and use a high rate only where changes are small. ``DARE(merge=TIES(density=1))`` elects
    signs after dropping; with a smaller density TIES trims a second time.

    References
    ----------
    Yu et al., "Language models are super Mario: absorbing abilities from homologous models as a free lunch", ICML
    2024, arXiv:2311.03099.

    Examples
    --------
    >>> import torch
    >>> from skfusion.merge import DARE, TaskArithmetic
    >>> base, member = {"w": torch.zeros(10_000)}, {"w": torch.ones(10_000)}
    >>> merged = DARE(rate=0.75, merge=TaskArithmetic(scale=1))([member], base)["w"]
    >>> merged.unique().tolist()
    [0.0, 4.0]
    >>> abs(merged.mean().item() - 1) < 0.1
    True
    """

    needs_base: ClassVar[bool] = True
    order_dependent: ClassVar[bool] = True
    why_copies_change: ClassVar[str] = "what is dropped is random, and differs between members that are equal"

    def __init__(self, rate: float | Sequence[float] = 0.9, merge: Merger | None = None, random_state: int = 0):
        self.rate = rate
        self.merge = merge
        self.random_state = random_state

    def n_surveys(self, size: int) -> int:
        """Return those of the inner merger; see :meth:`TensorMerger.n_surveys`."""
        inner = self._inner()
        return inner.n_surveys(size) if isinstance(inner, TensorMerger) else 0

    @property
    def needs_objective(self) -> bool:  # type: ignore[override]
        """Whether the inner merger chooses its scale on data, which are held-out rows then."""
        return bool(getattr(self.merge, "needs_objective", False))

    needs_labels = needs_objective

    def survey(self, read: Callable[[], Iterable[Entry]], n: int) -> Any:
        """Return the survey of the inner merger; see :meth:`TensorMerger.survey`."""
        if not all(0 <= rate < 1 for rate in one_each("DARE", "rate", self.rate, n)):
            raise ValueError(f"The rate of DARE is a probability in [0, 1); got {self.rate}.")
        if not isinstance(self.random_state, Integral):
            raise ValueError(f"The random_state of DARE is a whole number, the seed; got {self.random_state!r}.")
        inner = self._inner()
        if isinstance(inner, TensorMerger):
            return inner.survey(lambda: map(self._thinned, read()), n)
        if not inner.needs_objective:
            inner.coefficients([{}] * n)  # which refuses weights that do not fit the members, before data is read
        return None

    def chosen(self, merged: Callable[[Self], State], objective: Objective | None) -> Self:
        """Return the method with the scale that the inner merger chooses; see :meth:`TensorMerger.chosen`."""
        inner = self._inner()
        if not isinstance(inner, (OnGrid, TensorMerger)):
            return self
        return self._over(inner.chosen(lambda chosen: merged(self._over(chosen)), objective))

    def repeated(self, reported: Mapping[str, Any]) -> Merge:
        """Return the method with the scale that was chosen; see :meth:`Merger.repeated`."""
        return self._over(self._inner().repeated(reported)) if self.needs_objective else self

    def tensor(self, entry: Entry, known: Any) -> Tensor:
        """Return the merge of the thinned tensors; see :meth:`TensorMerger.tensor`."""
        inner, thin = self._inner(), self._thinned(entry)
        if isinstance(inner, TensorMerger):
            return inner.tensor(thin, known)
        states = [{entry.name: t} for t in thin.tensors]
        merged: State = inner.combine(states, inner.coefficients([{}] * len(states)), {entry.name: base_of(entry)})
        return merged[entry.name]

    def _inner(self) -> Any:
        inner = TaskArithmetic() if self.merge is None else self.merge
        kinds = (OnGrid, DARE) if getattr(inner, "needs_objective", False) else (LinearMerger, TensorMerger)
        if not isinstance(inner, kinds):
            raise ValueError(
                "DARE merges tensor by tensor, and asks data for nothing but a scale, so it cannot merge with "
                f"{inner!r}. Give it a merger like TaskArithmetic(scale=1), Uniform() or TIES()."
            )
        return inner

    def _over(self, inner: Any) -> Self:
        return type(self)(self.rate, inner, self.random_state)

    def _thinned(self, entry: Entry) -> Entry:
        base, thin = base_of(entry), []
        rates = one_each("DARE", "rate", self.rate, len(entry.tensors))
        for k, (tau, rate) in enumerate(zip(task_vectors(entry), rates, strict=True)):
            kept = mask(tau.shape, rate, f"{self.random_state} {k} {entry.name}")
            thin.append(base + kept.to(tau.device) * tau / (1 - rate))
        return Entry(entry.name, thin, base)

    @classmethod
    def _test_params(cls) -> Iterator[dict[str, Any]]:
        yield {}
        yield {"rate": 0.5, "merge": TaskArithmetic(scale=1), "random_state": 3}
        yield {"rate": 0.5, "merge": TaskArithmetic(scale=None, grid=(0.2, 0.6))}

    @classmethod
    def _test_skips(cls) -> dict[str, str]:
        of_units = "check_merge_commutes_with_a_permutation_of_units"
        return {**super()._test_skips(), of_units: "what is dropped depends on the place in the tensor"}


def mask(shape: torch.Size, rate: float, key: str) -> Tensor:
    """Return which numbers of a tensor are kept, all with probability ``1 - rate``; the same for the same key."""
    seed = int.from_bytes(blake2b(key.encode(), digest_size=7).digest(), "little")
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) >= rate
