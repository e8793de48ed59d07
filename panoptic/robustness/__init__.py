"""COCO-C: corruptions, corrupted splits, and panoptic quality under corruption."""
