"""Files that are larger than memory."""

import mmap
import os
from typing import Any

import numpy as np

SHARE_OF_MEMORY = 0.5
"""Of the machine's memory, that a file may take before its pages are no longer expected to stay there."""


def outgrows_memory(n_bytes: int) -> bool:
    """Whether a file of this size has to be read from the disk again and again; not known on Windows, and denied."""
    if not hasattr(os, "sysconf"):
        return False
    return n_bytes > SHARE_OF_MEMORY * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def expect_random_access(array: np.memmap) -> None:
    """Read no more of the file behind ``array`` than is asked for.

    Left alone a system reads a hundred kilobytes around each window, of which a batch uses a few hundred bytes.
    """
    mapping: Any = array.base  # an mmap.mmap, whatever numpy's annotations say
    if hasattr(mmap, "MADV_RANDOM"):
        mapping.madvise(mmap.MADV_RANDOM)
