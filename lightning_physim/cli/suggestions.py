"""Options that were mistyped, or given what they do not take, and what may have been meant."""

import argparse
import re
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches

from lightning_physim.errors import InputError

KINDS = {
    "bool": "true or false", "int": "a whole number", "float": "a number", "str": "a text", "NoneType": "null",
    "tuple": "a list", "list": "a list",
}  # fmt: skip
"""What jsonargparse names by the types of Python, in words."""


@contextmanager
def suggesting(parser: argparse.ArgumentParser) -> Iterator[None]:
    """Inside, an option that the parser does not know, or a value that an option does not take, is refused in one line.

    Raises:
        InputError: in place of the parser's own refusal of such an option.
    """
    try:
        yield
    except argparse.ArgumentError as error:
        _, unknown, words = str(error).partition("unrecognized arguments: ")
        if not unknown:
            if told := wrong_value(" ".join(str(error).split())):
                raise InputError(told) from error
            raise
        typed = re.findall(r"(?:^|\s)(--?[\w.-]+)", words)
        close = [near for word in typed for near in near_options(word, parser)]
        raise InputError(
            f"no such option: {words}" + (f": type {' '.join(close)}" if close else ", see --help")
        ) from error


def near_options(typed: str, parser: argparse.ArgumentParser) -> list[str]:
    """The option of a parser that is nearest to a word, if one is near."""
    return get_close_matches(typed, [word for action in parser._actions for word in action.option_strings], 1)


def wrong_value(refusal: str) -> str | None:
    """What an option takes and what it got, from jsonargparse's words about it; None where they say another thing."""
    key = re.search(r'Parser key "([\w.]+)": ', refusal)
    got = re.search(r"(?:Got|Given) value: (.*)", refusal)
    found = re.findall(r"Expected an? (?:<class '(\w+)'>|typing\.Literal\[(.*?)\])", refusal)
    if not key or not got or not all(literals or kind in KINDS for kind, literals in found) or not found:
        return None
    taken = [KINDS[kind] if kind else literals.replace("'", "").replace(", ", " or ") for kind, literals in found]
    return f"--{key[1]} takes {' or '.join(dict.fromkeys(taken))}; got {got[1]}"
