"""The DVC project that the flows run: its stages, settings, trials and clones."""
