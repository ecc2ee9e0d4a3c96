"""Commands of whole queues: their state, limits, workers, events and audit."""
