"""What answers drafts, wherever the target runs."""
