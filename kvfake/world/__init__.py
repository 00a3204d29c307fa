"""What a test holds in its hand: one isolated world, and the powers over it."""
