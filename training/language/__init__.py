"""Text models: what customers write and read."""
