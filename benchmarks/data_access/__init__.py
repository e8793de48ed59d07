"""Reading COCO in place, against folders and Python objects."""
