"""Measurements of tslt-wire: each module prints a table, and writes JSON and a picture when asked to."""
