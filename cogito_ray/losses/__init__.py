"""Loss terms, pressures against concept collapse, and the ways to weigh them."""
