"""The evaluator beside others."""
