"""IDF1 of tracked segments on drawn videos."""
