"""What a trained model is worth, measured the same way for every run."""
