"""Numbers as bits and bytes: bit fields, the range coder, models of ids, control maps, compression, shared numbers.

Knows nothing of lists, messages or sessions.  Spec sections 3, 5.4, 6.5 and 7.1.
"""
