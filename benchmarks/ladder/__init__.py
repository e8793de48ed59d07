"""What the papers' networks cost, from DETR to Panoptic SegFormer: table 5, and table 4 of the first version."""
