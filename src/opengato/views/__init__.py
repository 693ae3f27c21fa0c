"""Spaces that an agent has never seen, read as those that it knows."""
