"""The one error that a user's input can cause."""


class InputError(ValueError):
    """A value that the user gave cannot be used.

    The message is one line: the rule, what was got, and what to type instead. The command line prints it as it is
    and ends with exit code 2.
    """
