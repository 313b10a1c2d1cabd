"""What the adapter itself remembers: the ledger of what was written, and its own FHIR resources."""
