"""Reading LevelDB's log format, written here after its description, and a genuine file."""

import struct

import pytest
from wandb.proto.wandb_internal_pb2 import Record

from lightning_physim.tracking.wandb_file import _records, rows_in_files

BLOCK = 2**15


def written(*records: bytes) -> bytes:
    """A log of these records, after https://github.com/google/leveldb/blob/main/doc/log_format.md."""
    data = b":W&B" + b"\0\0\0"  # wandb's own seven bytes
    for record in records:
        first = True
        while True:
            room = BLOCK - len(data) % BLOCK
            if room < 7:
                data += b"\0" * room
                continue
            chunk, record = record[: room - 7], record[room - 7 :]
            kind = {(True, True): 1, (True, False): 2, (False, False): 3, (False, True): 4}[first, not record]
            data += struct.pack("<IHB", 0, len(chunk), kind) + chunk
            first = False
            if not record:
                break
    return data


@pytest.mark.parametrize("left", range(10))
def test_records_come_back_wherever_blocks_end(left):
    # The first record leaves this many bytes of its block: too few for a header below seven.
    records = [b"a" * (BLOCK - 7 - 7 - left), b"b" * 100, b"c" * (3 * BLOCK), b"", b"d"]
    assert list(_records(written(*records))) == records


def test_a_torn_end_is_passed_over():
    data = written(b"one", b"two" * 10)
    for cut in range(len(data) - 1, len(data) - 37, -1):
        assert list(_records(data[:cut])) == [b"one"], cut
    assert list(_records(data[:-37] + b"\0" * 100)) == [b"one"]  # room that was never written to
    assert list(_records(b"")) == []


def test_rows_come_in_the_order_of_processes_whether_online_or_not(tmp_path):
    for folder, steps in (("run-20260102_000000-r", (3,)), ("offline-run-20260101_000000-r", (1, 2))):
        (tmp_path / folder).mkdir()
        records = [b""]  # one that holds no row
        for step in steps:
            record = Record()
            for name, value in ((["a", "b"], step), (["c"], 0.5)):
                item = record.history.item.add(value_json=str(value))
                item.nested_key.extend(name)
            record.history.item.add(key="d", value_json='"x"')
            records.append(record.SerializeToString())
        (tmp_path / folder / "run-r.wandb").write_bytes(written(*records))
    assert rows_in_files(tmp_path) == [{"a/b": step, "c": 0.5, "d": "x"} for step in (1, 2, 3)]
