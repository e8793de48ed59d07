"""Cityscapes in the layout of its archives, and the panoptic maps of its images."""
