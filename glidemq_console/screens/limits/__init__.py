"""What holds queues back."""
