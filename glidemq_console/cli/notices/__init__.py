"""Telling others that a job waits for a person: a command with the review on its input, a webhook."""
