"""A server that predicts images, with a page to do so in a browser."""
