"""The screen with its sound, into files: a session and its parts."""
