"""Reference device and edge loops of tslt-wire on real Llama models (needs the ``llama`` extra: torch +
transformers)."""
