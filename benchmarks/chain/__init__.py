"""Time and memory of the whole chain on a dataset."""
