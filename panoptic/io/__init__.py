"""Files: errors, all-or-nothing writing, zip archives read in place, JSON with checked fields, PNG."""
