"""Images and videos of a field."""
