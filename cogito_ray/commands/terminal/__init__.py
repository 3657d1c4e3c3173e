"""What the terminal shows: tables, the live view and the summary at the end. Only commands import it."""
