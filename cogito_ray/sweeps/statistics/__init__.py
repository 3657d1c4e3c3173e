"""How far figures can be trusted: rank agreement of rungs, intervals over seeds, forecasts of cost. Pure."""
