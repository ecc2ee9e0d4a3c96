"""What single lists show."""
