"""The outcome of every segment, with thumbnails, to see why an image scored as it did."""
