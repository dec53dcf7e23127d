"""Files that survive whatever ends the process that writes them, and how nested values become names in them."""

import json
import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import yaml
from filelock import FileLock, Timeout

from lightning_physim.errors import InputError

UNREADABLE = (OSError, ValueError, TypeError, RecursionError, yaml.YAMLError)
"""What a file of YAML or JSON raises that holds something else, is no text, or cannot be opened."""
TOO_DEEP = re.compile(r"(?:[\[{]\s*|[?-] \s*){200}")


def read_mapping(path: Path) -> dict[str, Any]:
    """The content of a YAML file, such as a configuration.

    Raises:
        InputError: the file is not a YAML mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UNREADABLE as error:
        raise _no_mapping(str(path), error) from error
    return parsed_mapping(text, str(path))


def parsed_mapping(text: str, where: str) -> dict[str, Any]:
    """The same of a text. Numbers such as ``1e-3``, which YAML 1.1 takes for text, are numbers.

    Args:
        text: YAML.
        where: it stands, for the message.

    Raises:
        InputError: the text is not a YAML mapping.
    """
    import jsonargparse  # whose loader reads a file as it reads an option

    try:
        if TOO_DEEP.search(text):
            raise ValueError("it is nested too deeply")  # libyaml would take the process with it
        content = jsonargparse.get_loader("yaml")(text)
        json.dumps(content)  # no dates, and nothing that contains itself
    except UNREADABLE as error:
        raise _no_mapping(where, error) from error
    if not isinstance(content, dict):
        raise InputError(f"a configuration must have sections such as model and data; got {where} without any")
    return content


def _no_mapping(where: str, error: Exception) -> InputError:
    return InputError(f"a configuration must be YAML; got {where}: {' '.join(str(error).split())[:300]}")


def append_json_line(path: Path, row: Mapping[str, Any]) -> None:
    """Append one JSON object as a line, whole or not at all; the operating system has it on return.

    Raises:
        OSError: the line cannot be written; the file is as it was.
        ValueError: a number that JSON lacks, see :func:`json_number`.
    """
    line = json.dumps(row, allow_nan=False).encode() + b"\n"
    with path.open("ab", buffering=0) as file:
        end = file.tell()
        try:
            written = file.write(line)
            if written != len(line):
                raise OSError(f"{written} of {len(line)} bytes written")
        except OSError:
            file.truncate(end)  # needs no space, and keeps the next row off a torn line
            raise


def json_number(value: Any) -> float | str:
    """A number as strict JSON has it: ``"NaN"``, ``"Infinity"`` and ``"-Infinity"`` are strings."""
    number = float(value)
    if math.isfinite(number):
        return number
    return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"


def replace_file(path: Path, content: bytes | bytearray | memoryview, durable: bool = False) -> None:
    """Write a file whole or not at all, whatever ends the process. Several processes may write the same one.

    Args:
        path: the file; one that exists is replaced.
        content: all of it.
        durable: whether to wait for the disk, so that the file is whole after a loss of power too.
    """
    with replacing(path, durable) as file:
        file.write(content)


@contextmanager
def replacing(path: Path, durable: bool = False) -> Iterator[BinaryIO]:
    """The file of :func:`replace_file`, to be written piece by piece; it takes its name when the block has ended."""
    if path.is_dir():
        raise InputError(f"what is written goes to a file; got the folder {path}: add a name")
    new = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        with new.open("wb") as file:
            yield file
            if durable:
                file.flush()
                os.fsync(file.fileno())
        new.replace(path)
    except BaseException as error:
        new.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno is not None:
            error.filename = str(path)  # not the name of the half
        raise


@contextmanager
def locked(path: Path, refusal: str) -> Iterator[None]:
    """Inside, no other process holds the lock of a file. The operating system drops it with the process.

    Args:
        path: the file, made if need be.
        refusal: what to say where another process holds it.

    Raises:
        InputError: another process does.
    """
    lock = FileLock(path, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise InputError(refusal) from None
    try:
        yield
    finally:
        lock.release()


def stats(paths: Iterable[Path]) -> dict[Path, os.stat_result]:
    """Size and times of those files that are there: a training removes some of its files while others look at them."""
    found = {}
    for path in paths:
        with suppress(FileNotFoundError):
            found[path] = path.stat()
    return found


def clear_leftovers(folder: Path) -> None:
    """Remove what killed processes have left of :func:`replace_file`, in a folder that nobody else writes to."""
    for path in folder.glob("*.new") if folder.is_dir() else ():
        if re.search(r"\.\d+\.new$", path.name):
            path.unlink(missing_ok=True)


def flatten(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dictionaries in dictionaries as one, with dotted keys: ``{"model": {"lr": 0.1}}`` is ``{"model.lr": 0.1}``."""
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def nest(pairs: Iterable[tuple[tuple[str, ...], Any]]) -> dict[str, Any]:
    """Dictionaries in dictionaries, from ``(keys from the outside in, value)``."""
    nested: dict[str, Any] = {}
    for name, value in pairs:
        inner = nested
        for key in name[:-1]:
            inner = inner.setdefault(key, {})
        inner[name[-1]] = value
    return nested
