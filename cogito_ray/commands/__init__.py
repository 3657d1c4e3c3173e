"""The command line, a module a command; app.py holds what they share."""
