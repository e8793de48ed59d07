"""How often the intervals of differences between networks contain the true difference, by simulation."""
