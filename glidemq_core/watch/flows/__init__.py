"""Flows for consoles: lists, trees and what is left of removed jobs."""
