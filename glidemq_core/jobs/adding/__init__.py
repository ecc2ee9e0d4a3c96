"""What surrounds adding a job: its links to those that wait for it."""
