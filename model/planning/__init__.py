"""What a run would take before it is begun: pictures, steps, disk, memory and hours."""
