"""Fetching, verifying and unpacking the archives of a published dataset."""
