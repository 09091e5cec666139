"""File formats of an object, one file each; `table` lists them."""
