"""Acts of a person on many jobs at once."""
