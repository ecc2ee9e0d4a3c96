"""Commands of flows: the tree of jobs and its budget."""
