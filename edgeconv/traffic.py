"""How many bytes the kernels of a GPU may move through memory."""

# As times of those that a network's convolutions have to move.
TRAFFIC = 1.3
