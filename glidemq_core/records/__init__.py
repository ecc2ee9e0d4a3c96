"""What answers look like, and how they are decoded from what is stored."""
