"""What surrounds adding a job: middleware, and its links to those that wait for it."""
