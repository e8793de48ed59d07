"""Panoptic images without networks: formats, datasets, transforms, evaluation, robustness, tools.

Rooms import downwards only, in the order that tests/test_architecture.py states.
"""
