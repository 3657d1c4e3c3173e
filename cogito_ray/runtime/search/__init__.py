"""What a sweep tries next: Optuna's study, warm starts, populations and seeds. Only runtime.tune imports it."""
