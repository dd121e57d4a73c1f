"""Sweeps: search spaces, studies, workers."""
