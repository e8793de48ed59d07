"""What a panoptic picture is: files, categories, readers, transforms, quality, pictures. No networks."""
