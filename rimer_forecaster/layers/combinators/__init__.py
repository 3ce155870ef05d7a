"""Layers that are made of layers."""
