"""What every command needs: settings, error handling, worker processes, fingerprints."""
