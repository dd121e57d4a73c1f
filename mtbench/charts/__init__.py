"""Charts as geometry, which templates draw as inline SVG: the pictures of the board and of the report of a sweep."""
