"""Planners and searchers that several domains share: each is given a simulator's state and a reward, and knows no task."""
