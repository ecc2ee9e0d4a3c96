"""Tests of foreign and own text."""
