"""Prefect flows: when and where the stages of dvc.yaml run. They know stages by name, not by what they do."""
