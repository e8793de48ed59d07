"""Fuzzers of everything that reads files or computes in C++; `python -m tests.fuzz` runs them."""
