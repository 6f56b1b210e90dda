"""How long the codec takes, beside what a user would write instead."""
