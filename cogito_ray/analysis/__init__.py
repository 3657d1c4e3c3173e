"""What a set of concept vectors looks like. Pure torch: imports nothing else of this package."""
