"""The part that conformance/runners and benchmarks/evaluation use; installed in an environment of its own only."""
