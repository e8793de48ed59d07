"""Measurements that need a GPU, in one command."""
