"""Token shards: built, written and read by memory map."""
