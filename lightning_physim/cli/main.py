"""Entry point of ``physim``: which command, and how it ends."""

import argparse
import atexit
import errno
import os
import sys
from difflib import get_close_matches
from importlib import import_module
from typing import NamedTuple, NoReturn

from lightning_physim import __version__
from lightning_physim.cli.noise import without_noise
from lightning_physim.errors import Diverged, InputError, Interrupted, RankLost
from lightning_physim.signals import SIGNALS, die_of, raising_signals


class Command(NamedTuple):
    """One command.

    Args:
        module: of ``lightning_physim.cli``; imported when the command is called, as torch alone takes seconds.
        function: takes the words after the command and returns the exit code, or None for 0.
        summary: what it does, in a line.
        simulates: whether it may make a data set.
    """

    module: str
    function: str
    summary: str
    simulates: bool = False


COMMANDS = {
    "fit": Command("train", "fit", "train, measure the heads, leave runs/<run id>/", simulates=True),
    "validate": Command("train", "validate", "judge a trained network on the validation split"),
    "test": Command("train", "test", "the same on the test and out-of-distribution splits"),
    "predict": Command("train", "predict", "predict the test split"),
    "simulate": Command("simulate", "simulate", "make, describe and animate a data set", simulates=True),
    "attention": Command(
        "attention", "attention", "patterns of the heads as a file, and what they compute", simulates=True
    ),
    "llc": Command("llc", "llc", "learning coefficients at the checkpoints of a run"),
    "measure": Command("measure", "measure", "other settings of a measurement, at the checkpoints of a run"),
    "sweep": Command("sweep", "sweep", "many trainings, as a file in W&B's sweep format asks for"),
    "reproduce": Command("reproduce", "reproduce", "train seeds and controls, judge the paper's three claims"),
    "list": Command("list", "list_runs", "the runs of a folder: age, state, size, and what they came to"),
    "archive": Command("archive", "archive", "numbers of runs as one file, for others"),
    "report": Command("report", "report", "write the report of a run again, or compare several"),
    "dashboard": Command("dashboard", "dashboard", "the same panels as a W&B workspace and report"),
}

# What a disk that is full, read-only or forbidden says, and a path that cannot be; any other OSError is a defect.
DISK = (
    errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR, errno.ENOENT,
    errno.ENAMETOOLONG, errno.ELOOP, errno.EEXIST,
)  # fmt: skip


def console() -> NoReturn:
    """The ``physim`` command: :func:`main`, by whose exit code the process ends; of a signal, by the signal itself."""
    code = 0

    def end() -> None:
        if code - 128 in SIGNALS:
            die_of(code - 128)

    atexit.register(end)  # first in, last out: what else is to be done at the end of the process has been done by then
    code = main()
    sys.exit(code)


def main(argv: list[str] | None = None) -> int:
    """Run the command; return its exit code.

    0; 1 where a process of a distributed training failed; 2 where the input was at fault; 3 where training diverged;
    128 and the signal's number where a signal ended it; or what the command returns.
    """
    argv = sys.argv[1:] if argv is None else argv
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal that knows no × shows a question mark
    try:
        with raising_signals():
            return run(argv)
    except (InputError, argparse.ArgumentError) as error:
        return say(str(error), 2)
    except Diverged as error:
        return say(str(error), error.exit_code)
    except RankLost as error:
        return say(str(error), 1)
    except Interrupted as error:
        return int(error.code or 0)
    except BrokenPipeError:  # of `physim ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        if error.errno not in DISK:
            raise
        return say(
            f"cannot use {error.filename or 'a file'}: {error.strerror}; free some space or name another folder", 2
        )


def say(message: str, code: int) -> int:
    """Say what is wrong in one line; the exit code that was given."""
    print("physim: " + " ".join(message.split()), file=sys.stderr)
    return code


def run(argv: list[str]) -> int:
    """Call the command that the first word names."""
    name, rest = (argv[0], argv[1:]) if argv else ("--help", [])
    if name in ("-h", "--help"):
        print(overview(), end="")
        return 0
    if name in ("-V", "--version"):
        print(__version__)
        return 0
    if name not in COMMANDS:
        *most, last = COMMANDS
        close = "".join(f": type physim {each}" for each in get_close_matches(name, COMMANDS, 1))
        raise InputError(f"the command must be {', '.join(most)} or {last}; got {name}{close}")
    if "" not in sys.path:
        sys.path.append("")  # classes that options name may lie in the current folder
    command = COMMANDS[name]
    if command.simulates and not {"-h", "--help"} & {*rest}:
        # Imported here: `physim --help` is to answer at once.
        from lightning_physim.physics.beside import compile_beside

        compile_beside()
    with without_noise():
        return getattr(import_module(f"lightning_physim.cli.{command.module}"), command.function)(rest) or 0


def overview() -> str:
    """What ``physim --help`` prints: no more than a terminal of 80 x 24 shows."""
    from lightning_physim.cli.shipped import shipped_configs

    width = max(map(len, COMMANDS))
    return "\n".join(
        (
            "usage: physim COMMAND [options]",
            "",
            "Train a small transformer to simulate colliding particles, and watch attention",
            "heads emerge that detect collisions. Start with `physim fit`: it needs no",
            "account, and says what it does and how long it takes.",
            "",
            *(f"  {name:<{width}}  {command.summary}" for name, command in COMMANDS.items()),
            "",
            f"Shipped configurations: {', '.join(shipped_configs())}.",
            "`physim COMMAND --help` lists the options of a command.",
            "",
        )
    )
