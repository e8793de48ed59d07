"""The part that conformance/runners and benchmarks/evaluation use; the package ships no types."""
