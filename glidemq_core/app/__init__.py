"""Writing and loading applications: handlers with typed payloads, and workers found by name."""
