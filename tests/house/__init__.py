"""The house itself: imports, public names, pages, examples."""
