"""Encoders, and the files that they fill."""
