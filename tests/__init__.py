"""Tests: one file a module of the package, in the same folders, and what they share."""
