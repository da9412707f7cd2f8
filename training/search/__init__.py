"""Search: from the words that a customer types to products."""
