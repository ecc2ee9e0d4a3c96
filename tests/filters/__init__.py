"""Tests of `glidemq_core/filters`."""
