"""Quality and speed of the masks of each layer of a mask decoder: table 10 of the paper's second version."""
