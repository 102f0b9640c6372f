"""How does a message pass? The bus, its ports, the deployments, the API and the command."""
