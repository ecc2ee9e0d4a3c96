"""Generic widgets of the console: data comes in through setters, nothing here talks to a server."""
