"""The control plane: the truth about keys and groups, and the people who change it."""
