"""Run a flow's programs, on this machine or on those of a Dask scheduler."""
