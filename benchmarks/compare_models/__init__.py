"""Networks trained with one small budget, and which of them differ: those of the papers, families, or recipes."""
