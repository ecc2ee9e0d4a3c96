"""Tests of `glidemq_core/jobs`."""
