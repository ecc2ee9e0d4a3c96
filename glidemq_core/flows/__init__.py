"""Trees and graphs of jobs: planned, created, read, budgeted and repaired."""
