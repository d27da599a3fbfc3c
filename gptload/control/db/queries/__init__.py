"""Functions from an open connection to plain values; the caller owns the transaction."""
