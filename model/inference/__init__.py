"""Inference: from weights and images to panoptic maps."""
