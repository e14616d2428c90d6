"""Checkpoints on disk: read states from files of any size, and merge them into one file.

Here are the readers of safetensors and torch files, of shards and of pools' directories (`_checkpoint`, `_many`), the
check of archives (`_archive`), the files of fitted estimators (`_estimators`, which alone imports skops, and
`_check_estimator`), and the merge that holds a part of a tensor at a time (`_merge_files`, `_merge_plan`,
`_merge_stream`). The room may import `merge`, `state` and what is below; `pool` stands above it. To read another
format, write a reader that returns a state and call it in `_checkpoint`.
"""

from skfusion.checkpoints._adapter import CONFIG as ADAPTER_CONFIG
from skfusion.checkpoints._adapter import merged_adapter
from skfusion.checkpoints._checkpoint import Checkpoint, read_checkpoint
from skfusion.checkpoints._estimators import (
    UntrustedTypesError,
    estimator_to_bytes,
    read_estimator,
    read_known_estimator,
    with_known,
)
from skfusion.checkpoints._many import differing_prefixes, open_many
from skfusion.checkpoints._merge_files import merge_checkpoints
from skfusion.checkpoints._merge_plan import MergeReport

__all__ = ["MergeReport", "merge_checkpoints", "read_checkpoint"]
