"""Commands of single jobs: listing, adding, changing, following their tokens."""
