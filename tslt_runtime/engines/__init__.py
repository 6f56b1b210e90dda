"""What runs a model in this process.  An engine is imported when it is asked for, and its packages with it."""
