"""Raw tables in, encoded and memory-mapped columns out."""
