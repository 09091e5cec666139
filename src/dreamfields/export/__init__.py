"""Taking it away: surfaces, pictures and videos of a field."""
