"""Examining a dataset: every fault with its file and remedy, a summary, a page of pictures. See `command`."""
