"""How a command can end otherwise than by having done its work."""


class InputError(ValueError):
    """A value that the user gave cannot be used.

    The message is one line: the rule, what was got, and what to type instead. The command line prints it as it is
    and ends with exit code 2.
    """


class Diverged(ArithmeticError):
    """Training has arrived at numbers that are not finite.

    The message is one line: what, at which step, and what to type. The command line prints it and ends with
    :attr:`exit_code`.
    """

    exit_code = 3


class RankLost(RuntimeError):
    """Another process of a distributed training has failed, and this one cannot go on without it."""


class GivenUp(Exception):
    """A measurement was given up half-way, as it was asked to."""


class Interrupted(SystemExit):
    """A signal has ended the work, in order: what lies on disk is whole, and can be gone on with.

    A program that does not catch it ends with exit code 128 and the signal's number, as shells count.

    Args:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.number = number
