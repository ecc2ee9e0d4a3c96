"""Tests of `glidemq_core/doctor`."""
