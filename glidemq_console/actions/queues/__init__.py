"""What can be done with queues, their limits and their workers."""
