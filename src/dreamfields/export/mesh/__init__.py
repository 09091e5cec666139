"""The mesh: extracted from the density, cleaned, coloured and textured."""
