"""Operators with a plain torch reference each; one function picks the implementation."""
