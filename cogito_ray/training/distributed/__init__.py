"""How the workers of a run share its model and agree on what they do."""
