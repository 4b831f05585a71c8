"""What a file holds, compared with what was recorded; files that were cut off."""
