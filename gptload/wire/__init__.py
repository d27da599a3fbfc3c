"""HTTP/1.1 on Twisted transports: bytes, framing, connections, back-pressure."""
