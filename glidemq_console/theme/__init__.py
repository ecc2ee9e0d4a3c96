"""Themes: reading their files, and the styles that widgets take from them."""
