"""Comparisons with published results and between models; each module is a command."""
