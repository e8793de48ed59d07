"""`panoptic serve` against the bare network."""
