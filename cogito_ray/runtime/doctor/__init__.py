"""What `cogito-ray doctor` asks of every machine of a cluster, and what it makes of the answers."""
