"""What is measured of a model at every report while it trains."""
