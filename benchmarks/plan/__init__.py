"""The cost of a run, counted and measured before it is started."""
