"""Collectors: where the members of a pool come from."""

from skfusion.collect._base import Collector
from skfusion.collect._bootstrap import Bootstrap
from skfusion.collect._seeds import Seeds
from skfusion.collect._snapshots import Snapshots
from skfusion.collect._tail import Tail

__all__ = ["Bootstrap", "Collector", "Seeds", "Snapshots", "Tail"]
