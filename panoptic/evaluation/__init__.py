"""Panoptic quality, boundary PQ, mIoU, AP, confidence intervals and the error breakdown."""
