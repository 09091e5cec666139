"""File formats of an object: one file a format."""
