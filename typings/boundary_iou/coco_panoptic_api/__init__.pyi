"""The part that conformance/runners uses; the package ships no types."""
