"""Where a flow's programs run: on this machine or on those of a Dask cluster."""
