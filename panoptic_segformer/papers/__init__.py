"""The tables and figures of both papers beside our results, and the commands that make them."""
