"""OpenAI's Responses API. All but the validation request is as in `openai`,
and that events have names.
"""

from __future__ import annotations

from gptload_providers.openai import OpenAI

provider = OpenAI("openai-response", "/v1/responses", {"input": "hi"}, b"error")
