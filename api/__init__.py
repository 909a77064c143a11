"""The HTTP API: routes under /api/v1 that parse, call an operation, and answer."""
