"""What a flow shows while it runs and when it ends."""
