"""Who serves which queue."""
