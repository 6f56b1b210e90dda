"""How good the planner is on links and models that are known."""
