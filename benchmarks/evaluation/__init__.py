"""The evaluator against its peer."""
