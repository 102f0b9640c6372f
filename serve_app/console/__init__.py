"""The console: where people see what is held and decide on it, in a browser."""
