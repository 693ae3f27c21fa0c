"""The network, without data, training or environments."""
