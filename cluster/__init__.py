"""How a stage's command becomes many processes: torchrun here, or a SLURM job. Knows nothing of what is run."""
