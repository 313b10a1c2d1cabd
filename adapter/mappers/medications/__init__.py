"""Orders, supplies, doses given and doses stated, and how long each may have had its effect."""
