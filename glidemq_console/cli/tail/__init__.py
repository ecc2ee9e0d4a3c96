"""What `glidemq tail` writes: the story of a job, and its tokens."""
