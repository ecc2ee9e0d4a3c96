"""Settings: the config file, what a command resolves from it, and what the console runs with."""
