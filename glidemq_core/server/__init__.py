"""Reaching a Valkey server: URL, probe, client with retries, connection, queue context."""
