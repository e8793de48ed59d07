"""ADE20K: the archives that it comes in, its things, and its panoptic images."""
