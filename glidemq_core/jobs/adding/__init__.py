"""What surrounds adding a job: middleware, its record, its links to those that wait for it."""
