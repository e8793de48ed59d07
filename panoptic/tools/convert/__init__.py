"""From what people have, LabelMe, COCO or CVAT, to COCO panoptic layout. `__main__` is the command."""
