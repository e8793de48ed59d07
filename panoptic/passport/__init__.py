"""Passports: JSON files that say where weights, results and exports come from, so that `model.verify` can check it."""
