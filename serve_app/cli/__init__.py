"""The `acgs` command."""
