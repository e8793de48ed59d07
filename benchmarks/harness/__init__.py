"""Measure in interleaved runs, and publish the results."""
