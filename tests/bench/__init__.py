"""Benchmarks of the paths that the design promises something about. Run: `make bench`."""
