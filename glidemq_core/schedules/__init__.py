"""Job schedulers: when they run next, how they are stored, and how workers make their jobs."""
