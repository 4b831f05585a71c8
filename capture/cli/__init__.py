"""The capture command."""
