"""Search spaces: domains, dotted paths, and the points a space is made of. Pure."""
