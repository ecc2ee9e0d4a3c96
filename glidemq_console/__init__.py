"""Terminal operations console for glide-mq queues."""
