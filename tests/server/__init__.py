"""Tests of `glidemq_core/server`."""
