"""The HTTP API: schemas, one router per resource, problems."""
