"""`lit` guidance: locked image towers and a sentence encoder, joined in closed form and by trained adapters."""
