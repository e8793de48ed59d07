"""Training: matching, losses, optimisers, and the loop that survives a kill."""
