"""The engine on ``transformers``: causal models whose layers all attend fully (extra ``transformers``)."""
