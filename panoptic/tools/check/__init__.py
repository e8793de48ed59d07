"""Inspecting a dataset: every issue with its file and hint, a summary, a page of images. See `command`."""
