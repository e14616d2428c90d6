"""Hand out the activations at the sites of a symmetry, while a module runs.

Sites are known by the number of their contraction: a module with other weights runs the same operations in the same
order, as long as its path does not depend on data.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from skfusion.state import State
from skfusion.symmetry import Site
from skfusion.tracing._call import name_of, tensors_among
from skfusion.tracing._run import plain_kernels
from skfusion.tracing.rules import CONTRACTIONS


@contextmanager
def reading(sites: Sequence[Site], take: Callable[[Site, Tensor], Any]) -> Iterator[None]:
    """Hand out the activations at sites, while a module runs once in this context.

    The module is one of the architecture that the sites are of, in eval mode, with any weights and any batch size.

    Parameters
    ----------
    sites : sequence of Site
        Which activations to hand out. A site is skipped where an axis with units is of another length than in the
        example.
    take : callable
        ``take(site, activation)`` is called with a copy of the activation as soon as it is computed.

    Yields
    ------
    None
        Nothing.

    Raises
    ------
    ValueError
        If the module runs other operations than on the example.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from skfusion.tracing import reading, symmetry_of
    >>> net = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> sites = symmetry_of(net, torch.ones(4, 3)).sites
    >>> with reading(sites, lambda site, activation: print(site.where, tuple(activation.shape))):
    ...     _ = net(torch.ones(5, 3))
    0 (5, 8)
    2 (5, 8)
    """
    reader = _Reader(sites, take)
    with torch.no_grad(), plain_kernels(), reader:
        yield
    reader.check_done()


def as_parameters(state: State, module: nn.Module) -> State:
    """Return a state whose tensors need gradients where those of the module do, as torch chooses kernels by it.

    Sites are numbered by the operations of the module as it is, and found in a run with such a state only.

    Parameters
    ----------
    state : State
        The state.
    module : nn.Module
        A module that it is a state of.

    Returns
    -------
    State
        The same numbers, apart from the graph of the given tensors.

    Examples
    --------
    >>> from torch import nn
    >>> from skfusion.tracing import as_parameters
    >>> net = nn.Linear(3, 2)
    >>> net.weight.requires_grad, as_parameters(net.state_dict(), net)["weight"].requires_grad
    (True, True)
    """
    parameters = dict(module.named_parameters(remove_duplicate=False))
    return {k: t.detach().requires_grad_(k in parameters and parameters[k].requires_grad) for k, t in state.items()}


class _Reader(TorchDispatchMode):
    """A mode that counts contractions, as the tracer does."""

    def __init__(self, sites: Sequence[Site], take: Callable[[Site, Tensor], Any]):
        super().__init__()  # type: ignore[no-untyped-call]
        self._take, self._n = take, 0
        self._at: dict[int, list[Site]] = defaultdict(list)
        for site in sites:
            self._at[site.index].append(site)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, arguments = name_of(func), tensors_among((args, kwargs))
        here = self._at.get(self._n, []) if name in CONTRACTIONS else []
        for site in here:
            if site.name != name or len(arguments) <= (site.argument or 0):
                raise _mismatch(site, name)
            if site.argument is not None:
                self._hand_out(site, arguments[site.argument])
        out = func(*args, **(kwargs or {}))
        for site in here:
            if site.argument is None:
                self._hand_out(site, out[0] if isinstance(out, (tuple, list)) else out)
        self._n += name in CONTRACTIONS
        return out

    def _hand_out(self, site: Site, tensor: Tensor) -> None:
        if tensor.dim() != len(site.shape):
            raise _mismatch(site, f"{site.name} with {tensor.dim()} axes")
        if all(not blocks or tensor.shape[d] == site.shape[d] for d, blocks in enumerate(site.axes)):
            self._take(site, tensor.clone())  # what follows may write to it

    def check_done(self) -> None:
        """Raise where fewer contractions have run than on the example."""
        late = [site for n, sites in self._at.items() if n >= self._n for site in sites]
        if late:
            raise _mismatch(late[0], "none")


def _mismatch(site: Site, what: str) -> ValueError:
    place = f"in module {site.where!r}" if site.where else "in the module itself"
    return ValueError(
        f"The module runs other operations than on the example by which its symmetry was found: contraction "
        f"{site.index} was {site.name} {place}, now there is {what}. Its path depends on its inputs or its dtype: call "
        "symmetry_of with an example like these inputs."
    )
