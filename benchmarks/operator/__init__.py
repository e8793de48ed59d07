"""Deformable attention: the backends against its plain reference."""
