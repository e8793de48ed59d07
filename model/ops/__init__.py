"""Multi-scale deformable attention: one operator, its reference in plain torch, and faster backends.

`python -m model.ops` shows which backend runs on which device, and tests them.
"""
