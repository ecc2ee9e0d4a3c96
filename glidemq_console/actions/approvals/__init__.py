"""Deciding on jobs that wait for a person, and the decisions that are held back."""
