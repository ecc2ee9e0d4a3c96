"""One claimed job from its start to its recorded end: the run, its processor, its outcome."""
