"""Options that were mistyped, and what may have been meant."""

import argparse
import re
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches

from lightning_physim.errors import InputError


@contextmanager
def suggesting(parser: argparse.ArgumentParser) -> Iterator[None]:
    """Inside, an option that the parser does not know is refused with the one that is nearest to it.

    Raises:
        InputError: in place of the parser's own refusal of such an option.
    """
    try:
        yield
    except argparse.ArgumentError as error:
        _, unknown, words = str(error).partition("unrecognized arguments: ")
        if not unknown:
            raise
        typed = re.findall(r"(?:^|\s)(--?[\w.-]+)", words)
        close = [near for word in typed for near in near_options(word, parser)]
        raise InputError(
            f"no such option: {words}" + (f": type {' '.join(close)}" if close else ", see --help")
        ) from error


def near_options(typed: str, parser: argparse.ArgumentParser) -> list[str]:
    """The option of a parser that is nearest to a word, if one is near."""
    return get_close_matches(typed, [word for action in parser._actions for word in action.option_strings], 1)
