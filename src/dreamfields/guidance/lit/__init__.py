"""The default guidance: locked image towers and a sentence encoder from installed packages."""
