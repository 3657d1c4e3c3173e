"""What of the text is left out before it is tokenised: duplicates, outliers in length, and what evaluations ask."""
