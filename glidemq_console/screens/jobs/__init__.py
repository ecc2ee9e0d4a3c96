"""Jobs: the list of a queue, the page of one."""
