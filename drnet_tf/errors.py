"""The error that a user can mend."""


class UserError(Exception):
    """Wrong input. The message is one line: what is wrong, and what would be right."""
