"""The HTTP edge, thin: authentication, schemas, status codes, headers."""
