"""What is there: cameras, rays and the radiance field inside the scene cube. Knows nothing of text."""
