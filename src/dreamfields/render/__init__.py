"""What is seen: sampling, volume rendering, backgrounds and augmentation. Knows nothing of text."""
