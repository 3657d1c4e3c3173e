"""Commands as jobs of a cluster that is reached over Ray's job API: what is sent, and who follows it."""
