"""Inference against the naive version and transformers' Mask2Former."""
