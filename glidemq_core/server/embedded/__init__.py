"""A Valkey server of our own: its data folder, its process, its watchdog."""
