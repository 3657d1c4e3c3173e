"""What a sweep is, as data and pure policy: specs, domains, YAML, early stopping. Knows no Ray."""
