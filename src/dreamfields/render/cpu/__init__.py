"""The compiled renderer for CPUs; every function equals a readable reference in `render`."""
