"""Weight files: ours, ImageNet classifiers, and the published checkpoints."""
