"""The notebook: one table of every run of some storages, beside rows of a log that was kept elsewhere."""
