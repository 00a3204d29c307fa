"""The rows as checks, which any server can be asked."""
