"""What goes to the terminal: cells that have changed, one frame at a time, notices."""
