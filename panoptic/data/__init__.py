"""What training and prediction read: images with their segments, transforms, targets."""
