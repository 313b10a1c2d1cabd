"""The nouns: immutable values without I/O that every room speaks in."""
