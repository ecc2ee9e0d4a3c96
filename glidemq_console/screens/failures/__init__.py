"""What failed by cause, and dead letters."""
