"""The two ends of a link: device and edge drivers, verifiers, engines, commands.

Everything that moves bytes, waits or runs a model; the protocol itself is ``tslt_wire``'s.
"""
