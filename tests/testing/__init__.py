"""Tests of `glidemq_core/testing`."""
