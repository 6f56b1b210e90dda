"""Truncated distributions: how a draft model's logits become a list, and a list becomes bytes.

Spec sections 4, 5.1 and 5.4.
"""
