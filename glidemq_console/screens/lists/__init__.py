"""What screens around one list share."""
