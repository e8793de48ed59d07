"""Operators with a plain torch reference each."""
