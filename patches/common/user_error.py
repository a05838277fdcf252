"""The exception for what a user can mend."""


class UserError(ValueError):
    """What a user can mend: its text says what, where and what to do, and `run_main` prints it."""
