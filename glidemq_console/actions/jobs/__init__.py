"""What can be done with jobs: `control.py` changes and copies them, `timing.py` says when they run."""
