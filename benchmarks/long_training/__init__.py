"""A longer training on a larger drawn dataset."""
