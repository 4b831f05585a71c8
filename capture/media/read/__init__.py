"""Opens and decodes media files, and reads their tracks, tags and lengths."""
