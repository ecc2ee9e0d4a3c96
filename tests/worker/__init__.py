"""Tests of `glidemq_core/worker`."""
