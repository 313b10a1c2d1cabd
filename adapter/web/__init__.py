"""What the adapter serves. Only this room imports FastAPI: it costs the command line half a second."""
