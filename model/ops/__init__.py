"""Multi-scale deformable attention: one operator, a plain torch reference, and faster backends of it.

`python -m model.ops` shows which backend runs on which device, and tests them.
"""
