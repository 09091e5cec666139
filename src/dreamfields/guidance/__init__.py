"""What is wanted: joint image-text models. Knows text and images, nothing of 3D."""
