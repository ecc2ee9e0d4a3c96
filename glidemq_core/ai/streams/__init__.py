"""Token streams of jobs: appending chunks, reading them, and following many of them live."""
