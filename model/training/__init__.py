"""Training: matching, losses, optimizers, and the loop that survives a kill."""
