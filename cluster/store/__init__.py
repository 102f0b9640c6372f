"""The store: one client for the embedded Valkey and for a production Redis."""
