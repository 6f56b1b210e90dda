"""How messages are written: one table of frame kinds, one module a body.

Spec sections 3, 5 and 6.
"""
