"""Filters of lists of jobs, and scans for the jobs that one takes."""
