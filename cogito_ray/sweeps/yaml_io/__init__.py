"""YAML and JSON Schema in and out, with the line of every fault."""
