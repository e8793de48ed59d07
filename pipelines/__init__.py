"""Prefect flows, which decide when and where the stages of dvc.yaml run; they know stages by name only."""
