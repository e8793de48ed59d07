"""Browsing errors in the FiftyOne App, from the files that the `browse` stage writes.

FiftyOne is an extra (`make install EXTRAS=dev,browse`), so it is imported where it is used, after the environment
variables are set that keep it silent and local.
"""
