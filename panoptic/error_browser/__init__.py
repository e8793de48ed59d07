"""Every segment's outcome, and small images of it, to see why an image scored as it did."""
