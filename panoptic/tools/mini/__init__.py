"""Seeded generator of `mini`, the small dataset that ships with the project: small landscapes in COCO panoptic layout.

Each module decides one thing: `light` the time of day, `landscape` the layout of the stuff, `painting` its look,
`placing` which things there are and where, `shapes` their outlines, `textures` their colors, `objects` how they are
rendered. `scene` composes an image and labels every pixel, `coco` encodes it, `write` writes a dataset to disk.
"""
