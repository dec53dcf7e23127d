"""What costs how much, beside what others need for the same: ``python -m benchmarks``."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from lightning_physim.errors import InputError


@contextmanager
def refusals() -> Iterator[None]:
    """What cannot be measured ends in one line and exit code 2, as with ``physim``."""
    try:
        yield
    except InputError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
