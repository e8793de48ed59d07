"""Input of training and prediction: images with their segments, transforms, targets."""
