"""The OpenAPI description of both services and of control."""
