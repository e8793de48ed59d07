"""Names of the files that weights are shared with."""

WEIGHTS, DESCRIPTION = "model.safetensors", "model.json"
PASSPORT, RESULTS_PASSPORT = "model.passport.json", "passport.json"
METRICS, PER_CLASS = "evaluate/metrics.json", "evaluate/per_class.json"
"""Where the passport of the results lists them, and apart from the training's own metrics beside the weights."""
CATEGORIES, CARD = "categories.json", "README.md"
SHARED = (WEIGHTS, DESCRIPTION, CATEGORIES, PASSPORT, RESULTS_PASSPORT, METRICS, PER_CLASS, CARD)
"""Everything that is pushed and pulled: tensors, JSON and text, nothing that runs code."""
