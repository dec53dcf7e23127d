import pytest
import torch

from lightning_physim.cli.arithmetic import set_arithmetic
from lightning_physim.errors import InputError


def test_denormals_are_zero_and_threads_as_many_as_asked_for():
    before = torch.get_num_threads()
    denormal = torch.tensor(1e-40)
    assert denormal * 1.0 > 0
    try:
        set_arithmetic(threads=None)
        assert denormal * 1.0 == 0 and torch.get_num_threads() == before
        set_arithmetic(threads=before + 1)
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)


def test_no_thread_is_refused_and_changes_nothing():
    with pytest.raises(InputError, match="threads must be at least 1; got 0; give e.g. --threads=2"):
        set_arithmetic(threads=0)
    assert torch.tensor(1e-40) * 1.0 > 0
