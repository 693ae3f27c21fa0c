"""The simplest agents, trained on the same data for the same time: they stand beside every score."""
