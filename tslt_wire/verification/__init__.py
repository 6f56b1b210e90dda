"""Which drafted tokens the edge keeps and what follows them: target rows, verify, proposals, coupling, tail scale.

Spec sections 4.4 and 6.3 to 6.8.  ``verdicts`` has ``verify`` and the table of rules, a module ``*_rule`` for each kind
of evidence.
"""
