"""What a layer says of its own width beside its tensors, such as ``out_features``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

from skfusion.symmetry import Run

Changes = Sequence[tuple[Run, int]]
"""The runs of units on the first axis of a weight whose number changes, and their new number."""

_WITHOUT_TENSORS = (nn.LayerNorm, nn.RMSNorm, nn.GroupNorm, nn.modules.batchnorm._NormBase)


def refit(name: str, layer: Any, old: int, changes: Changes | None) -> None:
    """Set the attributes of a layer, whose tensors have other shapes than they had, to what these say.

    Parameters
    ----------
    name : str
        Of the layer, for messages.
    layer : nn.Module
        A layer of a copy; it is written. Others than those of known kinds have no attributes that are known.
    old : int
        How long the first axis of its weight was.
    changes : sequence of (Run, int) or None
        The units on this axis whose number changes, and their new number; None where that is not known.

    Raises
    ------
    ValueError
        If its units cannot be of this number.
    """
    for kinds, set_attributes in _KINDS:
        if isinstance(layer, kinds):
            set_attributes(name, layer, old, changes)
            return


def check_kind(name: str, layer: nn.Module, keys: Sequence[str]) -> None:
    """Raise ``ValueError`` where a layer, some of whose tensors change, is of no kind that can be resized."""
    if not any(isinstance(layer, kinds) for kinds, _ in _KINDS):
        raise ValueError(
            f"{_called(name, layer)} holds units whose number is to change (in {', '.join(keys)}), and what else "
            "depends on it is unknown. "
            "Layers that can be resized are linear layers, convolutions, normalisations, PReLU, embeddings and "
            "recurrent layers. Keep its widths, or make a module of the new widths yourself."
        )


def without_tensors(module: nn.Module) -> dict[str, nn.Module]:
    """Return the normalisations that know their width and have no tensor that shows it, by name."""
    return {
        name: part
        for name, part in module.named_modules()
        if isinstance(part, _WITHOUT_TENSORS) and not [*part.parameters(recurse=False), *part.buffers(recurse=False)]
    }


def refit_by_input(name: str, layer: Any, shape: tuple[int, ...]) -> None:
    """Set the width of a normalisation without tensors to that of what it is given."""
    if isinstance(layer, (nn.LayerNorm, nn.RMSNorm)):
        layer.normalized_shape = shape[len(shape) - len(layer.normalized_shape) :]
    elif isinstance(layer, nn.GroupNorm):
        if shape[1] == layer.num_channels:
            return
        if layer.num_groups not in (1, layer.num_channels):
            raise ValueError(
                f"{_called(name, layer)} has groups of channels, and no weights that show how many they become."
            )
        layer.num_groups, layer.num_channels = (1 if layer.num_groups == 1 else shape[1]), shape[1]
    else:
        layer.num_features = shape[1]


def _linear(_name: str, layer: Any, _old: int, _changes: Changes | None) -> None:
    layer.out_features, layer.in_features = layer.weight.shape


def _bilinear(_name: str, layer: Any, _old: int, _changes: Changes | None) -> None:
    layer.out_features, layer.in1_features, layer.in2_features = layer.weight.shape


def _convolution(name: str, layer: Any, old: int, changes: Changes | None) -> None:
    layer.groups = _parts(name, layer, layer.groups, old, changes)
    first, second = layer.weight.shape[0], layer.weight.shape[1] * layer.groups
    layer.in_channels, layer.out_channels = (first, second) if layer.transposed else (second, first)


def _group_norm(name: str, layer: Any, old: int, changes: Changes | None) -> None:
    layer.num_groups = _parts(name, layer, layer.num_groups, old, changes)
    layer.num_channels = len(layer.weight)


def _parts(name: str, layer: Any, n_parts: int, old: int, changes: Changes | None) -> int:
    """Return how many equal parts an axis has that had ``n_parts`` of them."""
    if n_parts == 1:
        return 1
    if changes is None:
        raise ValueError(
            f"{_called(name, layer)} has groups of channels, and its tensors do not show how many they become. Resize "
            "the module by skfusion.widths.resized(), which knows them, and load the state."
        )
    size, n_new = old // n_parts, n_parts
    grown = Counter(dict.fromkeys(range(n_parts), 0))
    for run, n in changes:
        if run.start % size == run.step % size == 0:  # a unit is one part or several
            n_new += (n - run.size) * (run.step // size)
        elif run.start // size == (run.stop - 1) // size:  # all units are in one part
            grown[run.start // size] += (n - run.size) * run.step
        else:
            raise _uneven(name, layer)
    if len({*grown.values()}) > 1:
        raise _uneven(name, layer)
    return n_new


def _uneven(name: str, layer: Any) -> ValueError:
    return ValueError(f"{_called(name, layer)} has groups of channels, which would no longer be of one size.")


def _normalisation(_name: str, layer: Any, _old: int, _changes: Changes | None) -> None:
    layer.num_features = len(layer.running_mean if layer.running_mean is not None else layer.weight)


def _layer_norm(_name: str, layer: Any, _old: int, _changes: Changes | None) -> None:
    layer.normalized_shape = tuple(layer.weight.shape)


def _prelu(_name: str, layer: Any, _old: int, _changes: Changes | None) -> None:
    layer.num_parameters = len(layer.weight)


def _embedding(_name: str, layer: Any, _old: int, _changes: Changes | None) -> None:
    layer.num_embeddings, layer.embedding_dim = layer.weight.shape


def _cell(_name: str, layer: Any, _old: int, _changes: Changes | None) -> None:
    layer.hidden_size, layer.input_size = layer.weight_hh.shape[1], layer.weight_ih.shape[1]


def _recurrent(name: str, layer: Any, _old: int, _changes: Changes | None) -> None:
    gates = {"LSTM": 4, "GRU": 3}.get(layer.mode, 1)
    lengths = {key: len(t) // gates for key, t in layer.named_parameters() if key.startswith("weight_ih")}
    returned = {key: t.shape[1] for key, t in layer.named_parameters() if key.startswith("weight_hh")}
    for sizes in (lengths, returned):
        if len({*sizes.values()}) > 1:
            raise ValueError(
                f"{_called(name, layer)} has one width for all of its layers and directions, and its tensors would "
                f"have several: {', '.join(f'{name}.{key} {size}'.lstrip('.') for key, size in sizes.items())}."
            )
    layer.hidden_size = next(iter(lengths.values()))
    layer.input_size = layer.weight_ih_l0.shape[1]
    if layer.proj_size:
        layer.proj_size = next(iter(returned.values()))


def _called(name: str, layer: nn.Module) -> str:
    return f"{type(layer).__name__} {name!r}" if name else f"{type(layer).__name__} itself"


_KINDS: tuple[tuple[Any, Callable[[str, Any, int, Changes | None], None]], ...] = (
    (nn.Linear, _linear),
    (nn.Bilinear, _bilinear),
    (nn.modules.conv._ConvNd, _convolution),
    (nn.modules.batchnorm._NormBase, _normalisation),
    ((nn.LayerNorm, nn.RMSNorm), _layer_norm),
    (nn.GroupNorm, _group_norm),
    (nn.PReLU, _prelu),
    ((nn.Embedding, nn.EmbeddingBag), _embedding),
    (nn.RNNCellBase, _cell),
    (nn.RNNBase, _recurrent),
)
