"""Names of the files that weights are shared with."""

WEIGHTS, DESCRIPTION = "model.safetensors", "model.json"
PASSPORT, RESULTS_PASSPORT = "model.passport.json", "passport.json"
METRICS, PER_CLASS, CATEGORIES = "metrics.json", "per_class.json", "categories.json"
CARD = "README.md"
SHARED = (WEIGHTS, DESCRIPTION, CATEGORIES, PASSPORT, RESULTS_PASSPORT, METRICS, PER_CLASS, CARD)
"""Everything that is pushed and pulled: tensors, JSON and text, nothing that runs code."""
