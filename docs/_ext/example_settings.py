"""What every example of the gallery runs with, whatever the ones before it have set."""

import warnings

import torch

_FILTERS = list(warnings.filters)
"""Those of the build, which libraries that examples import change."""


def reset(gallery_conf, name):
    """Give torch one thread, for numbers must not depend on the machine; and show the warnings that the build shows."""
    torch.set_num_threads(1)
    warnings.filters[:] = _FILTERS
