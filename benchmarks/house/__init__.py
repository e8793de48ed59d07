"""Size and shape of the code itself, before and after a change."""
