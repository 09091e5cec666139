"""Images of a field: sampling, volume rendering, backgrounds and augmentation. Knows nothing of text."""
