"""Recordings of the screen and sound: the session and its parts."""
