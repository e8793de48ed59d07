"""Commands outside the pipeline; no stage imports them."""
