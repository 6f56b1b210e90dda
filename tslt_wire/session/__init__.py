"""The protocol without I/O: states in one table, the device's end, the edge's end, events, negotiation.

Spec section 7.
"""
