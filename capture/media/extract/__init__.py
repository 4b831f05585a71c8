"""Extraction: sound tracks of a file, copied or encoded into files of their own."""
