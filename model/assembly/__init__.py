"""Predictions of parts, the tiles of an image or the frames of a video, put together; no stage imports it."""
