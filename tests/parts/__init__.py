"""What several tests start or speak: the service as its users run it, and raw HTTP."""
