"""Measures files, compares them with what was recorded, and repairs files that were cut off."""
