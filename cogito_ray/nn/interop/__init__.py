"""Other libraries' formats: Hugging Face models, and checkpoints of the earlier research code."""
