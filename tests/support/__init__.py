"""What the tests share: a raw client, and every way into a double."""
