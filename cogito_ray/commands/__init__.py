"""The command line, a module a command; shared_options holds what several take."""
