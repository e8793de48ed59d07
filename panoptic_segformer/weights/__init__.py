"""Weights by name: finding, fetching, checking and sharing them."""
