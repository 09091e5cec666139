"""Optimisation: the loop, its losses and schedules, and the state that it advances."""
