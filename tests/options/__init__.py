"""Tests of `glidemq_core/options`."""
