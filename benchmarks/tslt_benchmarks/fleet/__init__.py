"""How many devices edges serve: what a gateway costs, and a simulation of many edges."""
