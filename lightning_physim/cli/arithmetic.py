"""How torch computes in a process of ours."""

import torch

from lightning_physim.errors import InputError

MOST_THREADS = 4096
HALF = ("16-true", "bf16-true")
"""Precisions of the Trainer in which our network alone would be halved."""


def set_arithmetic(threads: int | None) -> None:
    """Take denormal numbers for zero, and compute with so many CPU threads; None leaves torch its own choice.

    Heads that have sharpened leave denormal weights (below 1e-38) on far keys, and products of those took a processor
    seven times as long: a step of ``demo`` takes half as long again at its end as with zeros in their place.
    Threads that torch starts later take it over from this one.

    Raises:
        InputError: no thread at all, or more than any machine has.
    """
    if threads is not None and not 1 <= threads <= MOST_THREADS:
        rule = "at least 1" if threads < 1 else f"at most {MOST_THREADS}"
        raise InputError(f"threads must be {rule}; got {threads}; give e.g. --threads=2")
    torch.set_flush_denormal(True)
    if threads is not None:
        torch.set_num_threads(threads)


def check_precision(precision: object) -> None:
    """Refuse a precision of the Trainer that our network cannot be trained in.

    Raises:
        InputError: states would meet weights of another type.
    """
    if precision in HALF:
        raise InputError(f"precision must be 32-true, 64-true or mixed, as states are float32; got {precision}")
