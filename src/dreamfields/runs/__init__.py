"""A run on disk: its folder, lock, record, checkpoints and files."""
