"""The network against the recorded outputs of the published code."""
