"""The data plane: from a client's request to an upstream's answer."""
