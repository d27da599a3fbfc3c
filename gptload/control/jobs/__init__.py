"""What happens without a request: one Twisted service a file."""
