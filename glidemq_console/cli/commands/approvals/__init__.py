"""Commands of suspended jobs: what waits for a person, and decisions."""
