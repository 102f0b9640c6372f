"""The policy engine: OPA in this process, or an OPA server; one protocol for both."""
