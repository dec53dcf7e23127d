"""What numbers of the user may be: one rule for all options, on the command line and in Python."""

import math
from collections.abc import Iterable

from lightning_physim.errors import InputError

MOST_COUNTED = 10**9
"""Of anything that is counted: what lies beyond is a slip of the finger, and would fill memory or a disk first."""
LARGEST, SMALLEST = 1e30, 1e-30
"""Of any measure but zero: squares of what lies beyond are infinite or zero, if not in double, in single precision."""


def check_counts(least: int = 1, /, **counts: int) -> None:
    """Refuse counts that do not lie between ``least`` and :data:`MOST_COUNTED`.

    Raises:
        InputError: one does not.
    """
    for name, count in counts.items():
        if not count >= least:
            raise InputError(f"{name} must {f'be at least {least}' if least else 'not be negative'}; got {count}")
        if count > MOST_COUNTED:
            raise InputError(f"{name} must be at most {MOST_COUNTED:,}; got {count:,}")


def check_positive(unit: str = "", /, **numbers: float) -> None:
    """Refuse numbers that are not positive, not finite, or beyond :data:`SMALLEST` and :data:`LARGEST`.

    Args:
        unit: told where one is refused.
        numbers: by name.

    Raises:
        InputError: one is none.
    """
    for name, number in numbers.items():
        if not SMALLEST <= number <= LARGEST:
            rule = f"be {SMALLEST:g} to {LARGEST:g}" if 0 < number < math.inf else "be positive and finite"
            raise InputError(f"{name} must {rule}{f', in {unit}' if unit else ''}; got {number!r}")


def check_not_negative(**numbers: float) -> None:
    """Refuse numbers that are negative, not finite, or beyond what :func:`check_positive` takes.

    Raises:
        InputError: one is.
    """
    for name, number in numbers.items():
        if not 0 <= number < math.inf:
            raise InputError(f"{name} must be finite and not negative; got {number!r}")
        if number:
            check_positive(**{name: number})


def check_choice(choices: Iterable[str | None], /, **values: str | None) -> None:
    """Refuse what is not one of some names.

    Args:
        choices: all that there are, such as ``typing.get_args`` of a ``Literal``.
        values: by what they are called.

    Raises:
        InputError: one is none of them.
    """
    known = [*choices]
    for name, value in values.items():
        if value not in known:
            raise InputError(f"{name} must be one of {', '.join(map(str, known))}; got {value!r}")
