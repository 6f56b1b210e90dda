"""The cases of the test vectors, a module for each file in spec/vectors."""
