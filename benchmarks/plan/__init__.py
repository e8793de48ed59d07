"""What a run would take, counted and measured before it is started."""
