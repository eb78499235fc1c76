"""Companies."""
ENDPOINTS = ()
