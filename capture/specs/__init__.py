"""Specs: what to record, to keep or to extract, and how; frozen and checked values.

A value that makes no sense is a ``ConfigError`` when the spec is made, not when it is used. Paths
may be given as text. Units are in the names, as in ``capture.model``.
"""
