"""Payloads: JSON as a tree, everything else as safe text."""
