"""The keeper: keeps the embedded store running."""
