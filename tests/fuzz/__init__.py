"""Random configurations of every layer, and damaged files: `make fuzz`."""
