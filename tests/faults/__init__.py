"""Schedules of faults: a workload runs, something breaks, and afterwards the keyspace is checked."""
