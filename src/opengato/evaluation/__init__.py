"""Evaluation: rollouts, scores, figures, the report."""
