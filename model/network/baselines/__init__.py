"""The networks that the papers compare with."""
