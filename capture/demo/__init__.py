"""What `capture demo` shows and plays."""
