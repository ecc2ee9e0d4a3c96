"""Queues at a glance, and the detail of one."""
