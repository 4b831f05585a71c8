"""What runs while anything is captured: recordings and voice messages share it."""
