"""Who someone is after merges, what they agreed to, which studies they are in, when they came."""
