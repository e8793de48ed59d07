"""COCO's panoptic format: categories, segments, id maps, annotations and results."""
