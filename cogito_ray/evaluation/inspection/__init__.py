"""What the concepts of one checkpoint look like, know and read: behind `cogito-ray analyse`."""
