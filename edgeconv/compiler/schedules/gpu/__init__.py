"""Schedule rules for GPUs, one file per kernel family."""
