"""What happened: the append-only ledger of a sweep, and what is read from it (ranking, report)."""
