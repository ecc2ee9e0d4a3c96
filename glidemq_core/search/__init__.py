"""Vector search over jobs: by a search module of the server, or exact."""
