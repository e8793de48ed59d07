"""Choices that the parser offers, apart from the code that heeds them."""

SMALLER, LATER = "smaller", "later"
ORDERS = (SMALLER, LATER)
"""Which of two overlapping instances is on top."""
REFUSE, APPLY, IGNORE = "refuse", "apply", "ignore"
ORIENTATIONS = (REFUSE, APPLY, IGNORE)
"""What to do with the EXIF orientation of photos."""
