"""Comparators: networks that others trained, in the layout of Hugging Face's transformers, run as they are."""
