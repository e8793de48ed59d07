"""Files: errors, atomic writing, zip archives read in place, JSON with checked fields, PNG."""
