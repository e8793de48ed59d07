"""The datasets: their descriptions, and how their files are fetched, verified and indexed."""
