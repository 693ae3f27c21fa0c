"""Datasets: readers of every format, and the tokenised cache."""
