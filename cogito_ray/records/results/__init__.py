"""What follows from a record: ranking, importances, gates, promotions, scores, the budget spent. Pure."""
