"""Events of queues: decoded, followed as they happen, and read back as far as they are kept."""
