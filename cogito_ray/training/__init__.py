"""One training loop for a laptop, a trial and a cluster, with its schedule, optimizer, guards and checkpoints."""
