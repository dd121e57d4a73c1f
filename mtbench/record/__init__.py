"""Records: immutable files that say what was run and what came out, readable however old they are."""
