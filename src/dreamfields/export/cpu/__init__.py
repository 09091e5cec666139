"""The compiled loops of exports; every function equals a readable reference in `export`."""
