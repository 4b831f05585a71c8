"""Frozen values that are passed between the parts; units are in the names; no I/O.

``_ns`` are integers, on the capture clock (``capture.clock``) or, where that is stated, in media
time of a recording. ``_s`` are floats and appear in specs only. ``_frames`` count samples per
channel of sound, ``_pictures`` count pictures. ``_px`` are physical pixels, ``_hz`` per second,
``_dbfs`` decibels below full scale (0 is full scale, silence is -inf).
"""
