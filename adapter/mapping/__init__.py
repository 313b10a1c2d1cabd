"""A hospital's own codes and units: which are unknown, what they may mean, what mapping them would change."""
