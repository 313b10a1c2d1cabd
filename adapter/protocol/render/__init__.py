"""One tree, many faces: the protocol in words, as a page, as a JSON Schema, as FHIR resources."""
