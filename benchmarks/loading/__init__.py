"""Throughput of the training loader."""
