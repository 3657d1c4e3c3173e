"""Trackers: what a ledger tells, sent to Weights & Biases, MLflow and TensorBoard."""
