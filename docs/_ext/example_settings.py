"""What every example of the gallery runs with, whatever the ones before it have set."""

import torch


def reset(gallery_conf, name):
    """Give torch one thread: the networks of the examples are small, and numbers must not depend on the machine."""
    torch.set_num_threads(1)
