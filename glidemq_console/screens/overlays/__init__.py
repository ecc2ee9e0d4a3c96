"""What is read over the screen it was asked on: help, audits."""
