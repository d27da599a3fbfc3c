"""The database's schema, step by step. Imported as `gptload.migrations`."""
