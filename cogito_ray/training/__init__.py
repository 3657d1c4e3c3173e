"""One training loop for a laptop, a trial and a cluster, and what it needs: schedule, optimizer, guards, checkpoints."""
