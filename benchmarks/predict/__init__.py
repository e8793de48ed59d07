"""`panoptic predict` against the bare network."""
