"""How often the target accepts, for each way to make a list and each kind of evidence, and what others lose."""
