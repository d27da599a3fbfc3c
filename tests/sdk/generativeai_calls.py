"""Every call that the older Gemini SDK can make over REST, in an environment of its own.

Run by test_google_generativeai.py with that environment's Python, which has nothing of
ours: `python generativeai_calls.py BASE_URL API_KEY` prints one JSON object. Each call
stands for itself: an error is its class name and text.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable
from typing import Any

import google.generativeai as genai

MODEL = "gemini-2.5-flash"
QUICKLY = {"timeout": 20, "retry": None}  # the SDK's own retries would blur ours


def weather(city: str) -> str:
    """Tell the weather."""
    return city


def calls() -> dict[str, Callable[[], Any]]:
    """What is called, by name."""
    model = genai.GenerativeModel(MODEL)
    with_tools = genai.GenerativeModel(MODEL, tools=[weather])
    image = {"mime_type": "image/png", "data": random.Random(6).randbytes(10 << 20)}

    def ask(contents: Any = "hi") -> str:
        return str(model.generate_content(contents, request_options=QUICKLY).text)

    def stream() -> str:
        chunks = model.generate_content("hi", stream=True, request_options=QUICKLY)
        return "".join(chunk.text for chunk in chunks)

    def tool() -> dict[str, Any]:
        said = with_tools.generate_content("hi", request_options=QUICKLY)
        return dict(said.candidates[0].content.parts[0].function_call.args)

    def embed() -> list[float]:
        said = genai.embed_content(
            model="models/gemini-embedding-001", content="a", request_options=QUICKLY
        )
        return list(said["embedding"])

    return {
        "unary": ask,
        "stream": stream,
        "tool": tool,
        "image": lambda: ask(["What is this?", image]),
        "embed": embed,
        "count": lambda: model.count_tokens("hi", request_options=QUICKLY).total_tokens,
        "models": lambda: [m.name for m in genai.list_models(request_options=QUICKLY)],
        "many": lambda: [ask() for _ in range(10)],
    }


def main() -> None:
    """Make the calls that are named after address and key; all of them if none is."""
    base_url, api_key, *wanted = sys.argv[1:]
    genai.configure(api_key=api_key, transport="rest", client_options={"api_endpoint": base_url})
    told: dict[str, Any] = {}
    for name, call in calls().items():
        if wanted and name not in wanted:
            continue
        try:
            told[name] = call()
        except Exception as error:  # the test decides what should have happened
            told[name] = f"{type(error).__name__}: {error}"
    print(json.dumps(told))


if __name__ == "__main__":
    main()
