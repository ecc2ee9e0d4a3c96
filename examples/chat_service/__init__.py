"""A chat behind FastAPI: tokens live in the browser, and refunds that a person approves."""
