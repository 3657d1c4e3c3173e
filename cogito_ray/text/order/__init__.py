"""The order in which rows are read: a pure function of seed and position."""
