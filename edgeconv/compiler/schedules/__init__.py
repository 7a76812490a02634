"""TIR schedules: one rule per kernel family, and the registry that picks them."""
