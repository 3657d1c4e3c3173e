"""Checkpoints: their format, storage, retention, upload, and runs that start from one."""
