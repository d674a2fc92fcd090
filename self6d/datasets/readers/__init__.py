"""One layout of recordings a file; `registry` lists them."""
