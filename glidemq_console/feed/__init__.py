"""The door to the engine: its protocol, the live and the scripted feed, and their readers."""
