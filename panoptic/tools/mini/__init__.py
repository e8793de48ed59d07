"""Seeded generator of `mini`, the small dataset that ships with the project: little landscapes in COCO panoptic layout.

Each module makes one choice: `light` the time of day, `landscape` where the stuff lies, `painting` how it looks,
`placing` what stands where, `shapes` the outlines of the classes, `coats` their colors, `toys` how they are drawn.
`scene` puts these together and labels every pixel, `coco` says it in COCO's words, `write` lays a dataset down on disk.
"""
