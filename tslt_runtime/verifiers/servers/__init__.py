"""Verifiers over inference servers that others run: the target's weights are theirs."""
