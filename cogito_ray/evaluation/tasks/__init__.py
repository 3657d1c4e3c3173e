"""Labelled tasks: where their texts are, what is asked and how it is scored. Imports nothing of ours."""
