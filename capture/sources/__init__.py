"""Sound and picture devices: the one place that picks a backend, and says why.

Backends are imported inside the branch that needs them, so that importing this package loads no
native library.
"""
