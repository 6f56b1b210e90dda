"""Bytes a token across encodings and systems: at equal acceptance, in whole messages, with what transports add."""
