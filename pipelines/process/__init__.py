"""Programs that the flows start, and the guard that ends them."""
