"""The queues of the sample workload, one kind of traffic a module."""
