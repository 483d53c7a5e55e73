"""Sets made ready for a source: fetched, checked, written as arrays."""
