"""Jobs of a queue: adding, reading, waiting, acting on one or on all, events and the audit."""
