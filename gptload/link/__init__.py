"""What data planes and control planes say to each other, and what carries it."""
