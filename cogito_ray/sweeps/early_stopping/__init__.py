"""Early-stopping policies, one file a kind, one name in `StoppingSpec` each. Pure: no Ray, no clock."""
