"""Tests of files that a person asks for."""
