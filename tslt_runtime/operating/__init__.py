"""What an edge needs in operation: meters, health, logs, draining, budgets."""
