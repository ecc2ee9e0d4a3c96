"""What reads the parts of a snapshot: one file a part, listed in `table.py`."""
