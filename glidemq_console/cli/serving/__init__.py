"""What surrounds workers that serve: HTTP for probes, child processes, files that are watched."""
