"""Tokens: episodes to flat token sequences and back, as the paper has them. No torch here."""
