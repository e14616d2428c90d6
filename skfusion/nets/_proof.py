"""What the first batch of a stack is watched for: random draws, and the module that an error comes from."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from torch import nn


def global_streams() -> tuple[Any, ...]:
    """Return the states of the random generators that a forward pass might draw from."""
    cuda = (
        [torch.cuda.get_rng_state(i).tolist() for i in range(torch.cuda.device_count())]
        if torch.cuda.is_available()
        else []
    )
    _, key, *place = np.random.get_state()  # noqa: NPY002
    return torch.get_rng_state().numpy().tobytes(), random.getstate(), key.tobytes(), place, cuda


def culprit(error: BaseException) -> str:
    """Return the class of the innermost module that an error came from."""
    name, trace = "its forward pass", error.__traceback__
    while trace is not None:
        owner = trace.tb_frame.f_locals.get("self")
        name = type(owner).__name__ if isinstance(owner, nn.Module) else name
        trace = trace.tb_next
    return name


def line(error: BaseException) -> str:
    """Return the first line of an error's message."""
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return first.partition(". Please file")[0]
