"""Tests of `glidemq_core/watch`."""
