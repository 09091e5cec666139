"""Radiance fields: one parametrisation a file, all of the one shape that `base` states."""
