"""COCO-C: the corruptions, corrupted splits, and panoptic quality under them."""
