"""One self-contained HTML page about a run: scores, errors, curves, robustness, images, and how to repeat it."""
