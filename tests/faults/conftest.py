"""Which cases run at every change, and which in the whole suite alone."""

import random
from collections import defaultdict
from pathlib import Path

import pytest

KEPT = 2
"""Cases of each test that run at every change, drawn by a fixed seed."""
KEPT_OF = {"test_a_bad_value_is_refused_or_taken_in_one_line": 36, "test_a_spoilt_file_of_a_run": 14}
KEPT_OF |= dict.fromkeys(("test_a_configuration_that_is_none", "test_a_run_that_is_not_as_it_was_left"), 9)
KEPT_OF["test_a_rank_that_is_lost_ends_an_estimate"] = 1
KEPT_OF |= dict.fromkeys(
    ("test_a_signal_to_any_rank_ends_all_with_a_checkpoint", "test_a_rank_that_is_lost_ends_the_run"), 2
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    cases = defaultdict(list)
    for item in items:
        if Path(__file__).parent in item.path.parents:
            cases[item.path, getattr(item, "originalname", item.name)].append(item)
    for (_, name), of_one in cases.items():
        kept = min(KEPT_OF.get(name, KEPT), len(of_one))
        for i in set(range(len(of_one))) - set(random.Random(name).sample(range(len(of_one)), kept)):
            of_one[i].add_marker(pytest.mark.faults)
