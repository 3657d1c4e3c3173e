"""A run under Ray Train: its driver, its workers, and promoted runs."""
