"""How many bytes a draft takes, in every format."""
