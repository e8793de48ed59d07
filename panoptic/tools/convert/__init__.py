"""Convert annotations of LabelMe, COCO or CVAT to COCO's panoptic layout. `__main__` is the command."""
