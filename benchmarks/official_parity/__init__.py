"""Parity of the network with the recorded outputs of the published code."""
