"""Loss terms, regularisers against concept collapse, and the ways to weigh them."""
