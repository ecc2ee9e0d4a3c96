"""Tests of `glidemq_core/flows`."""
