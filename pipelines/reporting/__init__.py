"""Show the progress and the results of a flow."""
