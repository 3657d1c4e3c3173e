"""The cross-entropy of scores of words and its gradient, without ever holding all scores."""
