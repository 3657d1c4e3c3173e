"""The command line: a module for each command and those akin to it; shared_options holds what several take."""
