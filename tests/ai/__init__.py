"""Tests of `glidemq_core/ai`."""
