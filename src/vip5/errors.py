"""The one error that users see: a single clear line with what is wrong, where, and the remedy."""


class UserError(Exception):
    """Something the user can mend. The command line prints it as one line and exits with code 2.

    Write the message as "what is wrong (where: file, row, value): remedy".
    """


class Diverged(UserError):
    """A training whose numbers are none any more: of these settings, no fault of the data."""
