"""Encoders, and the files that their packets are written to."""
