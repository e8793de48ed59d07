"""What a network attends to, samples and prefers: the papers' figures about its inside, with numbers beside them."""
