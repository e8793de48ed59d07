"""From weights and images to panoptic maps."""
