"""What can be done on single lists."""
