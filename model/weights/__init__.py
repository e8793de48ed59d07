"""Files of weights: ours, ImageNet's, and those of the published code."""
