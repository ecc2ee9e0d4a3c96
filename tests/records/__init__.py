"""Tests of `glidemq_core/records`."""
