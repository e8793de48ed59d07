"""One runner for each tool, which scores all cases with the tool's own code."""
