"""From an experiment to its records."""
