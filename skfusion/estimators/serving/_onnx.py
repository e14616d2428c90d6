"""Write a module to an ONNX file: nothing is written where that fails, and the layer that ONNX cannot take is named."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from skfusion.checkpoints.format import replacing

_ROWS = 7
"""Rows of the example: a number that few layers have in their shapes."""

_TOLERANCE = 1e-5
"""How far the file's predictions may be from those of the estimator, absolutely and of their size."""


def write_onnx(path: Path, module: nn.Module, inputs: Any, expected: np.ndarray, output: str) -> None:
    """Write a module, which takes a tensor or a dict of tensors, and compare what the file predicts for the inputs."""
    if missing := [name for name in ("onnx", "onnxscript") if find_spec(name) is None]:
        raise ImportError(f"Writing ONNX files needs {' and '.join(missing)}: pip install skfusion[onnx].")
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder. Give the path of a file.")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"The folder {path.parent} of the file does not exist. Make it first.")
    example = _taken(inputs, torch.arange(_ROWS) % len(expected))
    names = [*inputs] if isinstance(inputs, dict) else ["X"]
    try:
        content, session = _loaded(module, (example,), input_names=names, output_names=[output])
    except Exception as error:  # whatever torch, onnxscript, the runtime and the module raise
        name, part = _smallest_failing(module, example)
        layer = f"the layer {name!r}, {type(part).__name__}" if name else "the module"
        raise ValueError(f"ONNX cannot take {layer}: {_reason(error)} Nothing was written.") from error
    if session is not None:
        for rows in (torch.arange(len(expected)), torch.arange(1)):
            _compare(session, _taken(inputs, rows), expected[rows.numpy()])
    with replacing(path) as file:
        file.write(content)


def _loaded(module: nn.Module, args: tuple[Any, ...], **options: Any) -> tuple[bytes, Any]:
    """Return the content of a module's file, and ONNX Runtime with it, which has not all operators in all dtypes."""
    content = _exported(module, args, **options).model_proto.SerializeToString()
    if find_spec("onnxruntime") is None:
        return content, None
    import onnxruntime

    return content, onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])


def _exported(module: nn.Module, args: tuple[Any, ...], **options: Any) -> Any:
    """Return the ONNX program of a module, for any number of rows."""
    rows = torch.export.Dim("n_rows")
    shapes = tuple(tree_map(lambda leaf: {0: rows} if _has_rows(leaf) else None, arg) for arg in args)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of torch about itself
        try:
            program = torch.export.export(module, args, dynamic_shapes=shapes, strict=False)
        except Exception as error:
            try:  # the slower way, which reads the code of modules and so follows Python's len(X)
                program = torch.export.export(module, args, dynamic_shapes=shapes, strict=True)
            except Exception:
                raise error from None
        return torch.onnx.export(program, dynamo=True, verbose=False, **options)


def _has_rows(leaf: Any) -> bool:
    return isinstance(leaf, Tensor) and leaf.dim() > 0 and len(leaf) == _ROWS


def _taken(inputs: Any, rows: Tensor) -> Any:
    return {k: x[rows] for k, x in inputs.items()} if isinstance(inputs, dict) else inputs[rows]


def _compare(session: Any, inputs: Any, expected: np.ndarray) -> None:
    """Raise where a file predicts something else than the estimator."""
    named = inputs if isinstance(inputs, dict) else {"X": inputs}
    try:
        (found,) = session.run(None, {name: x.numpy() for name, x in named.items()})
    except Exception as error:  # whatever the runtime raises
        raise RuntimeError(f"ONNX Runtime does not take {len(expected)} rows: {error}. Nothing was written.") from error
    if found.shape != expected.shape or not np.allclose(found, expected, _TOLERANCE, _TOLERANCE, equal_nan=True):
        off = (
            f"by {np.abs(found - expected).max():.1e}" if found.shape == expected.shape else f"in shape, {found.shape}"
        )
        raise RuntimeError(
            f"The ONNX file would differ {off} from the estimator's predictions for {len(expected)} rows. Nothing was "
            "written."
        )


class _Call(nn.Module):
    """A call of a module, whose arguments are given in a tuple: first those in order, then those by name."""

    def __init__(self, module: nn.Module, names: list[str]):
        super().__init__()
        self.module, self.names = module, names

    def forward(self, given: tuple[Any, ...]) -> Any:
        """Return what the module returns."""
        n = len(given) - len(self.names)
        return self.module(*given[:n], **dict(zip(self.names, given[n:], strict=True)))


def _smallest_failing(module: nn.Module, example: Any) -> tuple[str, nn.Module]:
    """Return the name of the innermost part of which no file can be made and loaded by itself, and the part."""
    calls: dict[str, tuple[Any, Any]] = {}
    handles = [
        part.register_forward_pre_hook(_kept(calls, name), with_kwargs=True) for name, part in module.named_modules()
    ]
    try:
        with torch.no_grad():
            module(example)
    finally:
        for handle in handles:
            handle.remove()
    name, part = "", module
    while True:
        for inner, child in _called_parts(name, part, calls):
            args, kwargs = calls[inner]
            try:
                _loaded(_Call(child, [*kwargs]).eval(), ((*args, *kwargs.values()),))
            except Exception:
                name, part = inner, child
                break
        else:
            return name, part


def _kept(calls: dict[str, tuple[Any, Any]], name: str) -> Any:
    def hook(_part: nn.Module, args: Any, kwargs: Any) -> None:
        calls.setdefault(name, (args, kwargs))

    return hook


def _called_parts(name: str, part: nn.Module, calls: dict[str, Any]) -> Iterator[tuple[str, nn.Module]]:
    """Iterate over the parts that a part calls: those in lists, which are not called themselves, too."""
    for short, child in part.named_children():
        inner = f"{name}.{short}".lstrip(".")
        if inner in calls:
            yield inner, child
        else:
            yield from _called_parts(inner, child, calls)


def _reason(error: BaseException) -> str:
    """Return what is wrong, in a line."""
    text = str(error)
    if found := re.search(r"No ONNX function found for <OpOverload\(op='([^']+)'", text):
        return f"ONNX has no operator for {found[1]}."
    while error.__cause__ is not None:
        error = error.__cause__
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {first}" + ("" if first.endswith(".") else ".")
