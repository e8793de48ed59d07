"""Other ways to do the same work, to compare with."""
