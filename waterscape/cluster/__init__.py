"""On a cluster: this process among SLURM's tasks, jobs by submitit, what a machine offers."""
