"""The one exception that means: the user, not the program, has something to change."""


class UserError(Exception):
    """Its message is ONE line: what went wrong, where, and what to do about it."""
