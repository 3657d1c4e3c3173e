"""From documents to fixed-length rows of token ids. No Ray here: `runtime` runs these functions in parallel."""
