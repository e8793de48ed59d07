"""The groundwork of every command: settings, error handling, worker processes, fingerprints."""
