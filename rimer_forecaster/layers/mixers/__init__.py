"""Layers that mix tokens or channels."""
