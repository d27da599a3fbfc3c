"""A scripted AI provider: one process that behaves, and misbehaves, on request.

It speaks the OpenAI, Anthropic and Gemini APIs well enough for their official SDKs,
and it can break HTTP at the level of bytes, which no HTTP library would let it do. So
it is plain sockets and the standard library.

    python -m tests.upstream --port 8081 --keys '{"sk-dead": "invalid_api_key"}'

- `script`: what to do about which request: `Script`, `Rule`, `Step`. Plain JSON on the wire.
- `answers`, `dialects`: what each API says when all is well, and when it is not.
- `requests`: reading a request byte by byte, and what is remembered of it.
- `server`: plays the steps.
- `control`: for tests: starts the process, posts scripts, reads what was seen.
- `certificates`: a private CA and a leaf for localhost.
"""
