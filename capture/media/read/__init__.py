"""Files and tracks, opened and decoded."""
