"""Labelled questions as Ray tasks: over many checkpoints, or beside a run that trains."""
