"""What to record, to keep or to take out, and how: frozen values that are sound once they are made.

A value that makes no sense is a ``ConfigError`` when it is made, not when its time has come. Paths
may be given as text. Units are in the names, as in ``capture.model``.
"""
