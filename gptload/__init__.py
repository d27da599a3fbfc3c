"""gptload: one address in front of many AI-API keys. See docs/architecture.md."""
