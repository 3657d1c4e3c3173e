"""A sweep under Ray Tune: its driver, what a trial runs, what it may cost, what goes on beside it."""
