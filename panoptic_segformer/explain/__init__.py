"""Explain what a network does in photos without ground truth."""
