"""Sweeps and pretraining of concept encoders on Ray: from YAML to a ranked, recorded result."""
