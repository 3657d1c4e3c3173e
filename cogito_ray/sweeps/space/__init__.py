"""Search spaces: domains, dotted paths into runs, what is wrong there in words, and the points of a space. Pure."""
