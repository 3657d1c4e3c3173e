"""Checks that an interrupted run equals an undisturbed one, and a search without training."""
