"""What is said: prompts, drafts, evidence, verdicts, the handshake, extensions, token trees, sampling settings.

Plain immutable values that check themselves.  Spec sections 5 to 7.
"""
