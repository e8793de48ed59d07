"""Inspecting a dataset: every issue with its file and a hint, a summary, a page of images. See `__main__`."""
