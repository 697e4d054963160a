"""The grammar of packed objects and the columns that hold them."""
