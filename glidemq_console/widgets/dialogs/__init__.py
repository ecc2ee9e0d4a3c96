"""Questions, and forms to fill in."""
