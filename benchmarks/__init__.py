"""What the product costs and how fast it is, measured beside a peer where there is one: `python -m benchmarks`."""
