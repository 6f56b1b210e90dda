"""Conversations: messages in, tokens out, by a model's own template."""
