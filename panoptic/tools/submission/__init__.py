"""Pack results for COCO's evaluation server, and validate them as it would."""
