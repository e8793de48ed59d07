"""What every command needs: settings, its frame, worker processes, fingerprints."""
