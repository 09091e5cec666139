"""Making them agree: schedules, losses, the loop and what it leaves on disk."""
