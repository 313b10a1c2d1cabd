"""What was measured or answered, and what follows: Observation, DiagnosticReport, Specimen and forms."""
