"""Measuring it: a judge that never guides."""
