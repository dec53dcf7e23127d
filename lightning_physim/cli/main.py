"""Entry point of ``physim``: which command, and how it ends."""

import argparse
import errno
import sys

from lightning_physim.errors import InputError

HELP = """usage: physim COMMAND [options]

  physim fit [--config NAME_OR_PATH] [--ckpt_path last|RUN]   train, measure the heads, leave runs/<run id>/
  physim validate|test|predict --ckpt_path RUN                evaluate a trained network
  physim simulate [--config NAME_OR_PATH] [--animate FILE]    make, describe and animate a data set
  physim llc RUN [--calibrate]                                learning coefficients at the checkpoints of a run
  physim sweep FILE [--count N] [--jobs J] [--check]          many trainings, as a file in W&B's sweep format asks for
  physim sweep FILE --online [--count N]                      the same with W&B's server and agent
  physim reproduce [--config NAME_OR_PATH] [--seeds 5]        train seeds and controls, judge the paper's three claims
  physim report RUN...                                        write the report of a run again, or compare several
  physim dashboard push --entity E [--project P] [--dry-run]  the same panels as a W&B workspace and report

Shipped configurations: {configs}. `physim COMMAND --help` tells every option of a command.
"""

# What a full, read-only or forbidden disk says; any other OSError is a defect and keeps its traceback.
DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)


def main(argv: list[str] | None = None) -> int:
    """Run the command; return its exit code: 0, 2 where the input was at fault, or what the command returns."""
    argv = sys.argv[1:] if argv is None else argv
    try:
        return run(argv)
    except InputError as error:
        return refuse(str(error))
    except argparse.ArgumentError as error:
        return refuse(error.message)
    except OSError as error:
        if error.errno not in DISK:
            raise
        return refuse(
            f"cannot write {error.filename or 'a file'}: {error.strerror}; free some space or name another folder"
        )


def refuse(message: str) -> int:
    """Say what is wrong in one line; the exit code for it."""
    print("physim: " + " ".join(message.split()), file=sys.stderr)
    return 2


def run(argv: list[str]) -> int:
    # Commands are imported when called for: torch alone takes seconds, and --help should not.
    command, rest = (argv[0], argv[1:]) if argv else ("--help", [])
    if command in ("-h", "--help"):
        from lightning_physim.cli.configs import shipped_configs

        print(HELP.format(configs=", ".join(shipped_configs())), end="")
    elif command in ("fit", "validate", "test", "predict"):
        from lightning_physim.cli.train import train

        train(argv)
    elif command == "simulate":
        from lightning_physim.cli.simulate import main as simulate

        simulate(rest)
    elif command == "llc":
        from lightning_physim.cli.llc import llc

        llc(rest)
    elif command == "sweep":
        from lightning_physim.cli.sweep import sweep

        return sweep(rest)
    elif command == "reproduce":
        from lightning_physim.cli.reproduce import reproduce

        return reproduce(rest)
    elif command == "report":
        from lightning_physim.cli.report import report

        report(rest)
    elif command == "dashboard":
        from lightning_physim.cli.dashboard import dashboard

        dashboard(rest)
    else:
        raise InputError(
            "the command must be fit, validate, test, predict, simulate, llc, sweep, reproduce, report or dashboard; "
            f"got {command}"
        )
    return 0
