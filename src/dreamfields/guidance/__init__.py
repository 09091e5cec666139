"""Guidance: joint image-text models that score images for a prompt. Knows nothing of 3D."""
