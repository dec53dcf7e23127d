"""Directories of ``.npy`` arrays with a ``metadata.json``: made once, checked, never half there.

Nothing here knows what the arrays mean. A directory is named by a hash of the *spec* that made it; it appears under
its name by one rename, when it is complete, and only one process at a time makes it. No pickle is read or written.
"""

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Literal

import numpy as np
from filelock import FileLock

from lightning_physim.data.ahead import outgrows_memory
from lightning_physim.errors import InputError

METADATA = "metadata.json"

Spec = dict[str, Any]

log = logging.getLogger(__name__)


def directory_name(prefix: str, spec: Spec) -> str:
    """``<prefix>-<first 12 hex digits of the SHA-256 of the canonical spec>``."""
    return f"{prefix}-{hashlib.sha256(_canonical(spec)).hexdigest()[:12]}"


class ArrayWriter:
    """Writes one array to ``path`` in pieces along its first dimension, however many there will be, with its checksum.

    Plain sequential writes: a full disk raises ``OSError`` here, where writing to a memory map of a file without
    blocks kills the process with SIGBUS.
    """

    def __init__(self, path: Path, row: tuple[int, ...], dtype: str) -> None:
        self.path, self.row, self.dtype, self.length = path, row, np.dtype(dtype), 0
        self._file: BinaryIO = path.open("wb")
        self._write_header()

    def append(self, part: np.ndarray) -> None:
        """Writes ``part`` ``[m, *row]``, cast to the array's type."""
        self._file.write(np.ascontiguousarray(part, dtype=self.dtype).reshape(-1).view(np.uint8).data)
        self.length += len(part)

    def _write_header(self) -> None:
        # numpy leaves room in it for the first dimension to grow: the header of the end is as long as the first one.
        description = {
            "descr": np.lib.format.dtype_to_descr(self.dtype),
            "fortran_order": False,
            "shape": (self.length, *self.row),
        }
        self._file.seek(0)
        np.lib.format.write_array_header_1_0(self._file, description)

    def entry(self) -> dict[str, Any]:
        """What the metadata says of this array, closed."""
        with self.path.open("rb") as file:
            checksum = hashlib.file_digest(file, "sha256").hexdigest()
        return {
            "shape": [self.length, *self.row],
            "dtype": self.dtype.name,
            "bytes": self.path.stat().st_size,
            "sha256": checksum,
        }

    def __enter__(self) -> "ArrayWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with self._file:
            self._write_header()


def make_directory(directory: Path, spec: Spec, write: Callable[[Path], dict[str, Any]]) -> None:
    """Makes ``directory`` unless a sound one for ``spec`` is there; safe with any number of processes at once.

    A directory that is there but damaged, or belongs to another spec, is moved aside to ``<name>.damaged`` and made
    anew, with one line of warning.

    Args:
        directory: where it shall be.
        spec: JSON values that determine the content.
        write: fills the empty folder it is given with arrays and returns the metadata without ``spec``: ``arrays``
            (name to :meth:`ArrayWriter.entry`) and whatever else shall be kept.

    Raises:
        InputError: the disk is full or the folder cannot be written. What was begun is removed.
    """
    if find_fault(directory, spec) is None:
        return
    partial = directory.with_name(f".{directory.name}.partial")
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        # The kernel drops this lock with its process; a lock file that a killed one left behind blocks nobody.
        with FileLock(directory.with_name(f".{directory.name}.lock")):
            fault = find_fault(directory, spec)
            if fault is None:
                return
            if directory.exists():
                log.warning("%s is damaged (%s): moved to %s and made anew", directory, fault, _move_aside(directory))
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            try:
                metadata = {"spec": spec, **write(partial)}
                metadata["sha256"] = hashlib.sha256(_canonical(metadata)).hexdigest()
                (partial / METADATA).write_text(json.dumps(metadata, indent=1) + "\n")
                os.rename(partial, directory)
            except BaseException:
                shutil.rmtree(partial, ignore_errors=True)
                raise
    except OSError as error:
        raise InputError(
            f"cache_dir must be a folder with room where files can be written; got {error.strerror or error} for "
            f"{directory}: choose another one, e.g. --data.cache_dir=elsewhere/data"
        ) from error


def find_fault(directory: Path, spec: Spec, *, checksums: bool = True) -> str | None:
    """What is wrong with ``directory`` as the product of ``spec``, in a few words; None if it is sound.

    Without ``checksums`` only the metadata, the headers and the sizes are looked at, which reads no array.
    """
    try:
        metadata = read_metadata(directory)
        if _canonical(metadata["spec"]) != _canonical(spec):
            return "its metadata belongs to another data set"
        for name, entry in metadata["arrays"].items():
            path = directory / f"{name}.npy"
            if path.stat().st_size != entry["bytes"]:
                return f"{path.name} has {path.stat().st_size} bytes instead of {entry['bytes']}"
            array = np.load(path, mmap_mode="r", allow_pickle=False)
            if list(array.shape) != entry["shape"] or array.dtype.name != entry["dtype"]:
                return f"{path.name} has another shape or type than its metadata says"
            if checksums:
                with path.open("rb") as file:
                    if hashlib.file_digest(file, "sha256").hexdigest() != entry["sha256"]:
                        return f"the checksum of {path.name} is wrong"
    except FileNotFoundError as error:
        return f"{Path(error.filename).name} is missing"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"{type(error).__name__}: {error}".splitlines()[0]
    return None


def read_metadata(directory: Path) -> dict[str, Any]:
    """The directory's ``metadata.json``.

    Raises:
        ValueError: it is not what :func:`make_directory` wrote.
    """
    metadata: dict[str, Any] = json.loads((directory / METADATA).read_text())
    expected = metadata.pop("sha256")
    if hashlib.sha256(_canonical(metadata)).hexdigest() != expected:
        raise ValueError(f"the checksum of {METADATA} is wrong")
    return metadata


def open_array(directory: Path, name: str) -> np.memmap:
    """The array ``name``, memory-mapped: writable in memory, as torch wants it, but never written back.

    Read-only where it outgrows memory, of which a system promises no more than it has to what may be written to.
    """
    path = directory / f"{name}.npy"
    mode: Literal["r", "c"] = "r" if outgrows_memory(path.stat().st_size) else "c"
    array: np.memmap = np.load(path, mmap_mode=mode, allow_pickle=False)
    return array


def _move_aside(directory: Path) -> Path:
    target, n = directory.with_name(f"{directory.name}.damaged"), 1
    while target.exists():
        target, n = directory.with_name(f"{directory.name}.damaged-{n}"), n + 1
    os.rename(directory, target)
    return target


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
