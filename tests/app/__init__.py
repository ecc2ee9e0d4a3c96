"""Tests of `glidemq_core/app`."""
