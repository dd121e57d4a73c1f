"""Predictions on disk, and metrics over them."""
