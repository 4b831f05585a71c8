"""Many files at once: which ones, what their results are called, where the work is done."""
