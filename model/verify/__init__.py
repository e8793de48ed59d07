"""Checks that weights and results are what their passports say, by repeating parts of the work."""
