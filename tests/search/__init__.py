"""Tests of `glidemq_core/search`."""
