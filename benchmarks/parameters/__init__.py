"""PQ against parameters: the papers' networks, and ours."""
