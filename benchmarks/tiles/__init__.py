"""Panoptic quality of images in tiles against whole images."""
