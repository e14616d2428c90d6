"""The formats of the files that this library writes.

States as safetensors files (`_safetensors`), the index and the journal of a pool's directory (`_index`,
`_index_format`), and files that appear whole or not at all (`_replacing`). Merging on disk
uses them, and so do the stores of pools, which stand above. This room may import torch, safetensors and `state`. A new
kind of content is a new file here, with the check of what is read beside the writer.
"""

from skfusion.checkpoints.format._header import Described, described
from skfusion.checkpoints.format._index import LOCK, PENDING, RUNS, TEMPORARY, Index, check_foreign, consistently
from skfusion.checkpoints.format._index_format import (
    DATA_FILE,
    INDEX,
    JOURNAL,
    PoolFormatError,
    check_entry,
    classes_from_json,
    classes_to_json,
    damaged,
    entry_to_text,
    file_name,
    files_of,
    format_for,
    index_to_bytes,
    library_version,
    line_of,
    meta_from_json,
    meta_to_json,
    score_from_json,
    score_to_json,
)
from skfusion.checkpoints.format._replacing import WRITING, replacing, sync_directory, write_back
from skfusion.checkpoints.format._safetensors import (
    HEADER,
    aligned,
    array_to_bytes,
    check_digest,
    data_of,
    digest_of,
    header_of,
    read_array,
    read_known,
    read_safetensors,
    read_state,
    state_to_bytes,
)
