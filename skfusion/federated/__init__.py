"""Federations past one machine, on the engines that others have: a strategy for Flower.

:class:`FusionStrategy` fuses what the clients of a Flower federation return by any aligner and merger. Within one
process :class:`skfusion.FederatedClassifier` does the same. This room may import all that lies below `tuning`, and is
the only one that imports flwr, which the extra ``flower`` installs. Another engine is another file with its strategy.
"""

from skfusion.federated._flower import FusionStrategy

__all__ = ["FusionStrategy"]
