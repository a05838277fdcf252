"""What ``make bench`` measures: each part starts workers (``run``) and says what came of it (``show``)."""
