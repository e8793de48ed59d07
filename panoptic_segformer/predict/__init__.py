"""The command `panoptic predict`: from photos, folders, archives, addresses and videos to panoptic maps on disk."""
