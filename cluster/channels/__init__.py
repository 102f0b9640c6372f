"""How people and programs outside are told: one module for each way of speaking."""
