"""Measuring in interleaved runs, and writing what was measured."""
