"""The frame of every command: settings, error messages, worker processes, fingerprints."""
