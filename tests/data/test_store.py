"""Split directories: made once by any number of processes, checked, repaired, and refused in one line."""

import errno
import hashlib
import json
import multiprocessing
import os
import pickle
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lightning_physim.data.store import ArrayWriter, directory_name, find_fault, make_directory, read_metadata
from lightning_physim.errors import InputError

# From Python 3.12 on a fork of a process with threads draws a warning; these children only write files.
FORK = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

SPEC = {"what": "counting", "n": 5}


def write(folder: Path) -> dict[str, Any]:
    with ArrayWriter(folder / "x.npy", (2,), "float32") as writer:
        writer.append(np.arange(4).reshape(2, 2))
        writer.append(np.arange(4, 10).reshape(3, 2))
    return {"arrays": {"x": writer.entry()}, "note": [1, 2]}


def write_slowly_and_tell(folder: Path) -> dict[str, Any]:
    with (folder.parent / "written.txt").open("a") as log:
        log.write(f"{os.getpid()}\n")
    time.sleep(0.5)
    return write(folder)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / "cache" / directory_name("train", SPEC)
    make_directory(path, SPEC, write)
    return path


def test_arrays_are_plain_npy_with_true_checksums(directory: Path) -> None:
    np.testing.assert_array_equal(np.load(directory / "x.npy"), np.arange(10, dtype=np.float32).reshape(5, 2))
    entry = read_metadata(directory)["arrays"]["x"]
    content = (directory / "x.npy").read_bytes()
    assert entry == {
        "shape": [5, 2], "dtype": "float32", "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()
    }  # fmt: skip
    assert sorted(path.name for path in directory.iterdir()) == ["metadata.json", "x.npy"]


def test_the_name_is_a_hash_of_the_spec_whatever_the_order_of_its_keys() -> None:
    assert directory_name("val", SPEC) == directory_name("val", dict(reversed(SPEC.items())))
    assert directory_name("val", SPEC) != directory_name("val", {**SPEC, "n": 6})
    canonical = b'{"n":5,"what":"counting"}'
    assert directory_name("val", SPEC) == "val-" + hashlib.sha256(canonical).hexdigest()[:12]


def test_a_sound_directory_is_left_alone(directory: Path) -> None:
    make_directory(directory, SPEC, lambda folder: pytest.fail("made twice"))


@FORK
def test_it_is_made_in_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    directory = tmp_path / "a" / "b" / directory_name("train", SPEC)
    make_directory(directory, SPEC, write)
    assert find_fault(directory, SPEC) is None


def test_three_processes_make_it_once(tmp_path: Path) -> None:
    directory = tmp_path / directory_name("train", SPEC)
    context = multiprocessing.get_context("fork")
    makers = [context.Process(target=make_directory, args=(directory, SPEC, write_slowly_and_tell)) for _ in range(3)]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join()
    assert [maker.exitcode for maker in makers] == [0, 0, 0]
    assert len((tmp_path / "written.txt").read_text().splitlines()) == 1
    assert find_fault(directory, SPEC) is None


@FORK
def test_a_process_killed_at_work_blocks_nobody(tmp_path: Path) -> None:
    def hang(folder: Path) -> dict[str, Any]:
        write(folder)
        (folder.parent / "begun").touch()
        time.sleep(60)
        return {}

    directory = tmp_path / directory_name("train", SPEC)
    victim = multiprocessing.get_context("fork").Process(target=make_directory, args=(directory, SPEC, hang))
    victim.start()
    deadline = time.monotonic() + 10
    while not (tmp_path / "begun").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert victim.pid is not None
    os.kill(victim.pid, signal.SIGKILL)
    victim.join()
    assert not directory.exists()
    assert list(tmp_path.glob(".*.lock")) and list(tmp_path.glob(".*.partial"))
    start = time.monotonic()
    make_directory(directory, SPEC, write)
    assert time.monotonic() - start < 5
    assert find_fault(directory, SPEC) is None
    assert not list(tmp_path.glob(".*.partial"))


def flip_a_byte(directory: Path) -> None:
    with (directory / "x.npy").open("r+b") as file:
        file.seek(-3, os.SEEK_END)
        byte = file.read(1)[0]
        file.seek(-3, os.SEEK_END)
        file.write(bytes([byte ^ 1]))


def truncate(directory: Path) -> None:
    os.truncate(directory / "x.npy", 140)


def remove(directory: Path) -> None:
    (directory / "x.npy").unlink()


def remove_metadata(directory: Path) -> None:
    (directory / "metadata.json").unlink()


def edit_metadata(directory: Path) -> None:
    text = (directory / "metadata.json").read_text()
    (directory / "metadata.json").write_text(text.replace("2\n ]", "3\n ]"))


def bring_foreign_metadata(directory: Path) -> None:
    other = directory.with_name("other")
    make_directory(other, {"what": "else"}, write)
    os.replace(other / "metadata.json", directory / "metadata.json")


def empty_metadata(directory: Path) -> None:
    (directory / "metadata.json").write_text("[]")


def pickle_the_array(directory: Path) -> None:
    """A pickled array of the right size, with metadata to match: only refusing pickles stops it."""
    np.save(directory / "x.npy", np.array([Trap()], dtype=object), allow_pickle=True)
    match_metadata(directory)


def bring_a_pickle(directory: Path) -> None:
    """The same without the head of an array, which numpy would open as well."""
    (directory / "x.npy").write_bytes(pickle.dumps(Trap()))
    match_metadata(directory)


def match_metadata(directory: Path) -> None:
    metadata = read_metadata(directory)
    content = (directory / "x.npy").read_bytes()
    metadata["arrays"]["x"] |= {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    canonical = json.dumps(metadata, sort_keys=True, separators=(",", ":")).encode()
    (directory / "metadata.json").write_text(json.dumps({**metadata, "sha256": hashlib.sha256(canonical).hexdigest()}))


class Trap:
    def __reduce__(self) -> tuple[Any, ...]:
        return pytest.fail, ("a pickle was opened",)


DAMAGES = {
    flip_a_byte: "checksum of x.npy",
    truncate: "140 bytes instead of",
    remove: "x.npy is missing",
    remove_metadata: "metadata.json is missing",
    edit_metadata: "checksum of metadata.json",
    bring_foreign_metadata: "belongs to another data set",
    empty_metadata: "TypeError",
    pickle_the_array: "ValueError",
    bring_a_pickle: "ValueError",
}


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_damage_is_told_moved_aside_and_mended(directory: Path, damage: Any, caplog: pytest.LogCaptureFixture) -> None:
    damage(directory)
    make_directory(directory, SPEC, write)
    assert find_fault(directory, SPEC) is None
    assert directory.with_name(directory.name + ".damaged").is_dir()
    (record,) = caplog.records
    assert DAMAGES[damage] in record.getMessage()
    assert "\n" not in record.getMessage()
    damage(directory)
    make_directory(directory, SPEC, write)
    assert directory.with_name(directory.name + ".damaged-1").is_dir()
    damage(directory)
    make_directory(directory, SPEC, write)
    assert directory.with_name(directory.name + ".damaged-2").is_dir()


def test_without_checksums_only_sizes_and_headers_count(directory: Path) -> None:
    flip_a_byte(directory)
    assert find_fault(directory, SPEC, checksums=False) is None
    truncate(directory)
    assert "bytes" in (find_fault(directory, SPEC, checksums=False) or "")


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: ArrayWriter, part: np.ndarray) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(ArrayWriter, "append", fail)
    with pytest.raises(InputError, match="No space left on device.*--data.cache_dir") as raised:
        make_directory(tmp_path / "train-0", SPEC, write)
    assert "\n" not in str(raised.value)
    assert [path.name for path in tmp_path.iterdir()] == [".train-0.lock"]


def test_a_folder_that_cannot_be_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="cache_dir must be a folder.*--data.cache_dir"):
        make_directory(tmp_path / "file" / "cache" / "train-0", SPEC, write)


def test_an_interrupted_build_leaves_nothing(tmp_path: Path) -> None:
    def interrupted(folder: Path) -> dict[str, Any]:
        write(folder)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_directory(tmp_path / "train-0", SPEC, interrupted)
    assert [path.name for path in tmp_path.iterdir()] == [".train-0.lock"]


@pytest.mark.parametrize("other", [lambda x: x.view(np.int32), lambda x: x.reshape(x.shape[::-1])])
def test_an_array_of_another_type_or_shape_alone_is_a_fault_even_where_its_size_is_right(tmp_path, other):
    directory = tmp_path / "split"
    make_directory(directory, SPEC, write)
    array = np.load(directory / "x.npy")
    np.save(directory / "x.npy", other(array))
    assert (directory / "x.npy").stat().st_size == read_metadata(directory)["arrays"]["x"]["bytes"]
    assert "another shape or type" in (find_fault(directory, SPEC, checksums=False) or "")


def test_a_number_that_json_lacks_is_in_no_metadata(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        directory_name("train", {"n": float("nan")})
    with pytest.raises(ValueError, match="not JSON compliant"):
        make_directory(tmp_path / "train-0", SPEC, lambda folder: write(folder) | {"note": float("inf")})
    assert [path.name for path in tmp_path.iterdir()] == [".train-0.lock"]
