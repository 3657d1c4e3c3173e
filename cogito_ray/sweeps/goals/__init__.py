"""What trials are ranked by: goals, constraints, fronts and gates, and what must agree between trials. Pure."""
