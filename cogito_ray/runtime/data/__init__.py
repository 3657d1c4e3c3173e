"""Ray Data: text prepared in parallel, and rows streamed to workers."""
