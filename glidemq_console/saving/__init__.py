"""Files that a person asks for: texts, and lists as CSV, JSON or Markdown."""
