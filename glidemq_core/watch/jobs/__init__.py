"""Jobs for consoles: pages, rows, filters and details."""
