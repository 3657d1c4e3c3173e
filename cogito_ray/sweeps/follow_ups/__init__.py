"""What a sweep asks of its best trials afterwards: other seeds, full runs, a ladder of sizes. Pure."""
