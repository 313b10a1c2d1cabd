"""A screening cut by byte ranges and by people, for several processes and bounded memory."""
