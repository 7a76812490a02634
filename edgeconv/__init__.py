"""edgeconv: compile convolutional networks for the edge, and prove what they compute."""
