"""What surrounds the app in its process: signals, defects, garbage collection, keys typed ahead."""
