"""The error of everything here that a person can mend."""


class BrowseError(RuntimeError):
    """Says what was found, what was expected, and what to do."""
