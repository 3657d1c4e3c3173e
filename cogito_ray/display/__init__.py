"""What a terminal or a notebook shows of a sweep or run: tables and the live view, drawn by rich."""
