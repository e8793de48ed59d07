"""What a panoptic image is: files, categories, readers, transforms, quality, images. No networks."""
