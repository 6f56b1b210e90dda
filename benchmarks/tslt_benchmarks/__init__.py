"""Measurements of tslt-wire: each command prints a table, and writes JSON and a picture when asked to."""
