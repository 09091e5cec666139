"""From a field to a mesh: surface, colours, texture, and how well it matches the field."""
