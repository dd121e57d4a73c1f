"""The board: records side by side, and the page made from them."""
