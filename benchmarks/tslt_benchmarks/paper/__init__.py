"""The TSLT paper, reproduced: its figures, bounds and equations, and what its misprints would do."""
