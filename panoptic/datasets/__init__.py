"""The datasets: where their files are, how they are fetched, verified and indexed."""
