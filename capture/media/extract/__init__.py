"""Sound taken out of files."""
