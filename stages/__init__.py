"""One module per step of the pipeline: settings and paths in, one library call, files out."""
