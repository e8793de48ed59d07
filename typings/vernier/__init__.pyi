"""The part that conformance/runners uses; installed in an environment of its own only."""
