"""What wandb's own files of a run hold: its client has no reader, and a run that goes on offline has nobody to ask."""

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BLOCK = 32 * 1024
HEADER = struct.Struct("<IHB")  # checksum, length, kind
WHOLE, FIRST, LAST = 1, 2, 4


def rows_in_files(folder: Path) -> list[dict[str, Any]]:
    """The logged rows in all files of a run, oldest process first.

    Args:
        folder: where ``offline-run-<time>-<id>/`` and ``run-<time>-<id>/`` lie.
    """
    from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[attr-defined]  # generated

    rows = []
    for path in sorted(folder.glob("*run-*/run-*.wandb"), key=lambda path: path.parent.name.split("run-")[1]):
        for payload in _records(path.read_bytes()):
            items = Record.FromString(payload).history.item
            if items:
                rows.append({item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items})
    return rows


def _records(data: bytes) -> Iterator[bytes]:
    """The records of a LevelDB log, up to where a killed process left it.

    After the file's own seven bytes come blocks of 32 KiB, counted from the start of the file; a record is one chunk,
    or a first, middle ones and a last, and no chunk crosses the end of a block.
    """
    position, record = HEADER.size, b""
    while position + HEADER.size <= len(data):
        left = BLOCK - position % BLOCK
        if left < HEADER.size:
            position += left
            continue
        _, length, kind = HEADER.unpack_from(data, position)
        position += HEADER.size
        if kind == 0 or position + length > len(data):
            return
        chunk = data[position : position + length]
        position += length
        record = chunk if kind in (WHOLE, FIRST) else record + chunk
        if kind in (WHOLE, LAST):
            yield record
