"""Datasets: the layout of their files, downloading, verification and indexing."""
