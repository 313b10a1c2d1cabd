"""Diagnoses, procedures, allergies and adverse events."""
