"""Settings and servers, changed while the console runs."""
