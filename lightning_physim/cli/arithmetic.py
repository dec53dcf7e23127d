"""How torch computes in a process of ours."""

import torch

from lightning_physim.errors import InputError


def set_arithmetic(threads: int | None) -> None:
    """Take denormal numbers for zero, and compute with so many CPU threads; None leaves torch its own choice.

    Heads that have sharpened leave denormal weights (below 1e-38) on far keys, and products of those took a processor
    seven times as long: a step of ``demo`` takes half as long again at its end as with zeros in their place.
    Threads that torch starts later take it over from this one.

    Raises:
        InputError: no thread at all.
    """
    if threads is not None and threads < 1:
        raise InputError(f"threads must be at least 1; got {threads}; give e.g. --threads=2")
    torch.set_flush_denormal(True)
    if threads is not None:
        torch.set_num_threads(threads)
