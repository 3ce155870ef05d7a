"""Weights that forecast series never seen, and how they are trained and judged."""
