"""OpenAI's interface on the device: HTTP in front, drafts and verdicts behind."""
