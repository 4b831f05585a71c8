"""Parts that recordings and listening for voice messages share."""
