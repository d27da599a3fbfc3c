"""What each API says when all is well: bodies and streams that the official SDKs accept.

An answer names the request's model, calls the first tool that was offered, and else
says `TEXT` in pieces. What a call makes is kept for its key (`tests.upstream.kept`), and
another key that names it hears that there is no such thing.
"""

from __future__ import annotations

import base64
import json
import re
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tests.upstream.dialects import dialect_of
from tests.upstream.kept import Kept
from tests.upstream.requests import Request

# Characters of one to four bytes, so that a cut in the wrong place shows.
WORDS = ("Hello", " wörld", ", 你好", ", γειά", " 🌍")
TEXT = "".join(WORDS)
JSON_TYPE = "application/json"
SSE_TYPE = "text/event-stream; charset=utf-8"
CREATED = 1_750_000_000
VECTOR = (0.25, -0.5, 0.125, 1.0)  # exact in float32
MODELS = {
    "openai": ("gpt-4.1-mini", "gpt-4.1", "text-embedding-3-small"),
    "anthropic": ("claude-sonnet-4-5", "claude-haiku-4-5"),
    "gemini": ("gemini-2.5-flash", "gemini-2.5-pro", "gemini-embedding-001"),
}


@dataclass(frozen=True)
class Answer:
    """A body in the parts in which it is sent.

    Attributes:
        is_stream: parts come one after another, with the step's interval between them.
        fields: that come with it.
    """

    parts: Sequence[bytes]
    content_type: str = JSON_TYPE
    is_stream: bool = False
    status: int = 200
    fields: Sequence[tuple[str, str]] = ()


def answer(request: Request, events: int, kept: Kept) -> Answer:
    """The realistic answer to a request.

    Args:
        events: how many pieces of text a stream has.
        kept: what was made so far.
    """
    path = request.path.rstrip("/")
    dialect = dialect_of(request)
    for pattern, keep in _KEEPING[dialect]:
        if found := re.search(pattern, path):
            return keep(request, kept, *found.groups())
    if missing := _MISSING[dialect](request, kept):
        return missing
    for pattern, make in _ROUTES[dialect]:
        if re.search(pattern, path):
            return make(request, events)
    return _not_found(request)


def _json(body: Any, status: int = 200, fields: Sequence[tuple[str, str]] = ()) -> Answer:
    return Answer([_dump(body)], status=status, fields=fields)


def _dump(body: Any) -> bytes:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def _data(body: Any, event: str | None = None) -> bytes:
    head = f"event: {event}\n".encode() if event else b""
    return head + b"data: " + _dump(body) + b"\n\n"


def _words(events: int) -> Iterator[str]:
    for number in range(events):
        yield WORDS[number % len(WORDS)]


def _not_found(request: Request) -> Answer:
    body = {"error": {"message": f"Invalid URL ({request.method} {request.path})", "type": "x"}}
    return _json(body, 404)


# --- OpenAI


def _chat(request: Request, events: int) -> Answer:
    said = request.json()
    common = {"id": f"chatcmpl-{request.number}", "created": CREATED, "model": said.get("model")}
    usage = {"prompt_tokens": 9, "completion_tokens": 12, "total_tokens": 21}
    if not said.get("stream"):
        message: dict[str, Any] = {"role": "assistant", "content": TEXT, "refusal": None}
        if tool := _openai_tool(said):
            message |= {"content": None, "tool_calls": [_openai_call(tool)]}
        choice = {
            "index": 0,
            "message": message,
            "logprobs": None,
            "finish_reason": "tool_calls" if tool else "stop",
        }
        return _json(common | {"object": "chat.completion", "choices": [choice], "usage": usage})

    def chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return _data(common | {"object": "chat.completion.chunk", "choices": [choice]})

    parts = [chunk({"role": "assistant", "content": ""})]
    if tool := _openai_tool(said):
        call = _openai_call(tool) | {"index": 0}
        arguments = call["function"]["arguments"]
        call["function"] = {"name": tool, "arguments": ""}
        parts.append(chunk({"tool_calls": [call]}))
        for piece in (arguments[:5], arguments[5:]):
            parts.append(chunk({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}))
    else:
        parts += [chunk({"content": word}) for word in _words(events)]
    parts.append(chunk({}, "tool_calls" if tool else "stop"))
    if (said.get("stream_options") or {}).get("include_usage"):
        last = {"object": "chat.completion.chunk", "choices": [], "usage": usage}
        parts.append(_data(common | last))
    parts.append(b"data: [DONE]\n\n")
    return Answer(parts, SSE_TYPE, is_stream=True)


def _openai_tool(said: dict[str, Any]) -> str | None:
    for tool in said.get("tools") or ():
        name = tool.get("name") or tool.get("function", {}).get("name")
        if isinstance(name, str):
            return name
    return None


def _openai_call(tool: str) -> dict[str, Any]:
    return {
        "id": "call_1",
        "type": "function",
        "function": {"name": tool, "arguments": _dump(ARGUMENTS).decode()},
    }


ARGUMENTS = {"city": "Zürich"}


def _responses(request: Request, events: int) -> Answer:
    said = request.json()
    tool = _openai_tool(said)
    item: dict[str, Any]
    if tool:
        item = {
            "type": "function_call",
            "id": "fc_1",
            "call_id": "call_1",
            "name": tool,
            "arguments": _dump(ARGUMENTS).decode(),
            "status": "completed",
        }
    else:
        text = "".join(_words(events)) if said.get("stream") else TEXT
        item = {
            "type": "message",
            "id": "msg_1",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": text, "annotations": []}],
        }
    response: dict[str, Any] = {
        "id": request.made,
        "object": "response",
        "created_at": CREATED,
        "status": "completed",
        "model": said.get("model"),
        "output": [item],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": said.get("tools") or [],
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "temperature": 1.0,
        "top_p": 1.0,
        "usage": {
            "input_tokens": 9,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": 12,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 21,
        },
    }
    if not said.get("stream"):
        return _json(response)
    begun = response | {"status": "in_progress", "output": [], "usage": None}
    events_: list[dict[str, Any]] = [
        {"type": "response.created", "response": begun},
        {"type": "response.in_progress", "response": begun},
        {
            "type": "response.output_item.added",
            "output_index": 0,
            "item": item | {"status": "in_progress"} | ({} if tool else {"content": []}),
        },
    ]
    where = {"item_id": item["id"], "output_index": 0}
    if tool:
        name = "response.function_call_arguments"
        for piece in (item["arguments"][:5], item["arguments"][5:]):
            events_.append({"type": f"{name}.delta", "delta": piece} | where)
        done = {"type": f"{name}.done", "arguments": item["arguments"], "name": tool}
        events_.append(done | where)
    else:
        where |= {"content_index": 0}
        part = item["content"][0]
        events_.append({"type": "response.content_part.added", "part": part | {"text": ""}} | where)
        for word in _words(events):
            delta = {"type": "response.output_text.delta", "delta": word, "logprobs": []}
            events_.append(delta | where)
        events_.append(
            {"type": "response.output_text.done", "text": part["text"], "logprobs": []} | where
        )
        events_.append({"type": "response.content_part.done", "part": part} | where)
    events_ += [
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": response},
    ]
    parts = [_data(e | {"sequence_number": n}, e["type"]) for n, e in enumerate(events_)]
    return Answer(parts, SSE_TYPE, is_stream=True)


def _embeddings(request: Request, events: int) -> Answer:
    said = request.json()
    wanted = said.get("input")
    count = len(wanted) if isinstance(wanted, list) else 1
    vector: Any = list(VECTOR)
    if said.get("encoding_format") == "base64":
        vector = base64.b64encode(struct.pack(f"<{len(VECTOR)}f", *VECTOR)).decode()
    return _json(
        {
            "object": "list",
            "data": [
                {"object": "embedding", "index": index, "embedding": vector}
                for index in range(count)
            ],
            "model": said.get("model"),
            "usage": {"prompt_tokens": 4 * count, "total_tokens": 4 * count},
        }
    )


def _no_such(what: str) -> Answer:
    message = f"No such {what}."
    error = {"message": message, "type": "invalid_request_error", "param": "id", "code": None}
    return _json({"error": error}, 404)


def _files(request: Request, kept: Kept) -> Answer:
    if request.method == "GET":
        mine = list(kept.all(request.key, "file-"))
        return _json({"object": "list", "data": mine, "has_more": False})
    name, content = _uploaded(request)
    file = {
        "id": kept.new_id("file-"),
        "object": "file",
        "bytes": len(content),
        "created_at": CREATED,
        "filename": name,
        "purpose": "user_data",
        "status": "processed",
    }
    kept.keep(str(file["id"]), request.key, file, content)
    return _json(file)


def _file(request: Request, kept: Kept, name: str, content: str | None) -> Answer:
    thing = kept.of(request.key, name)
    if thing is None:
        return _no_such(f"File object: {name}")
    if content:
        return Answer([bytes(thing.content)], "application/octet-stream")
    if request.method == "DELETE":
        kept.drop(name)
        return _json({"id": name, "object": "file", "deleted": True})
    return _json(thing.shown)


def _batches(request: Request, kept: Kept) -> Answer:
    said = request.json()
    if kept.of(request.key, str(said.get("input_file_id"))) is None:
        return _no_such(f"File object: {said.get('input_file_id')}")
    batch = {
        "id": kept.new_id("batch_"),
        "object": "batch",
        "endpoint": said.get("endpoint"),
        "input_file_id": said.get("input_file_id"),
        "completion_window": said.get("completion_window"),
        "status": "in_progress",
        "created_at": CREATED,
    }
    kept.keep(str(batch["id"]), request.key, batch)
    return _json(batch)


def _batch(request: Request, kept: Kept, name: str, cancel: str | None) -> Answer:
    thing = kept.of(request.key, name)
    if thing is None:
        return _no_such(f"Batch object: {name}")
    if cancel:
        thing.shown["status"] = "cancelling"
    elif thing.shown["status"] == "in_progress" and "output_file_id" not in thing.shown:
        # It has finished meanwhile: the output belongs to the same account.
        output = {"id": kept.new_id("file-"), "object": "file", "purpose": "batch_output"}
        kept.keep(output["id"], request.key, output, b'{"custom_id":"1"}\n')
        thing.shown |= {"status": "completed", "output_file_id": output["id"]}
    return _json(thing.shown)


def _response(request: Request, kept: Kept, name: str) -> Answer:
    thing = kept.of(request.key, name)
    if thing is None:
        return _no_such(f"response: {name}")
    if request.method == "DELETE":
        kept.drop(name)
        return _json({"id": name, "object": "response", "deleted": True})
    return _json(thing.shown)


def _openai_missing(request: Request, kept: Kept) -> Answer | None:
    if not request.path.rstrip("/").endswith("/responses"):
        return None
    said = request.json()
    before = said.get("previous_response_id")
    if before and kept.of(request.key, before) is None:
        error = {
            "message": f"Previous response with id '{before}' not found.",
            "type": "invalid_request_error",
            "param": "previous_response_id",
            "code": "previous_response_not_found",
        }
        return _json({"error": error}, 400)
    request.made = kept.new_id("resp_")
    if said.get("store") is not False:
        shown = {"id": request.made, "object": "response", "status": "completed", "output": []}
        kept.keep(request.made, request.key, shown | {"created_at": CREATED, "model": "m"})
    return None


def _uploaded(request: Request) -> tuple[str, bytes]:
    """File name and bytes of the first file in a multipart body."""
    found = re.search(r'boundary="?([^";]+)', request.get("content-type") or "")
    if not found:
        return "", b""
    for part in bytes(request.body).split(b"--" + found[1].encode()):
        head, _, content = part.partition(b"\r\n\r\n")
        if name := re.search(rb'filename="([^"]*)"', head):
            return name[1].decode(), content.removesuffix(b"\r\n")
    return "", b""


def _openai_models(request: Request, events: int) -> Answer:
    return _json(
        {
            "object": "list",
            "data": [
                {"id": name, "object": "model", "created": CREATED, "owned_by": "openai"}
                for name in MODELS["openai"]
            ],
        }
    )


# --- Anthropic


def _messages(request: Request, events: int) -> Answer:
    said = request.json()
    tool = next((t["name"] for t in said.get("tools") or () if "name" in t), None)
    usage = {"input_tokens": 9, "output_tokens": 12}
    block: dict[str, Any] = {"type": "text", "text": TEXT}
    if tool:
        block = {"type": "tool_use", "id": "toolu_1", "name": tool, "input": ARGUMENTS}
    message: dict[str, Any] = {
        "id": f"msg_{request.number}",
        "type": "message",
        "role": "assistant",
        "model": said.get("model"),
        "content": [block],
        "stop_reason": "tool_use" if tool else "end_turn",
        "stop_sequence": None,
        "usage": usage,
    }
    if not said.get("stream"):
        return _json(message)
    begun = message | {
        "content": [],
        "stop_reason": None,
        "usage": usage | {"output_tokens": 1},
    }
    empty: dict[str, Any] = {"input": {}} if tool else {"text": ""}
    events_: list[dict[str, Any]] = [
        {"type": "message_start", "message": begun},
        {
            "type": "content_block_start",
            "index": 0,
            "content_block": block | empty,
        },
        {"type": "ping"},
    ]
    if tool:
        arguments = _dump(ARGUMENTS).decode()
        deltas = [
            {"type": "input_json_delta", "partial_json": piece}
            for piece in ("", arguments[:5], arguments[5:])
        ]
    else:
        deltas = [{"type": "text_delta", "text": word} for word in _words(events)]
    events_ += [{"type": "content_block_delta", "index": 0, "delta": d} for d in deltas]
    events_ += [
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": message["stop_reason"], "stop_sequence": None},
            "usage": {"output_tokens": 12},
        },
        {"type": "message_stop"},
    ]
    return Answer([_data(e, e["type"]) for e in events_], SSE_TYPE, is_stream=True)


def _count_messages(request: Request, events: int) -> Answer:
    return _json({"input_tokens": 14})


def _anthropic_models(request: Request, events: int) -> Answer:
    names = MODELS["anthropic"]
    return _json(
        {
            "data": [
                {
                    "type": "model",
                    "id": name,
                    "display_name": name.title(),
                    "created_at": "2026-02-01T00:00:00Z",
                }
                for name in names
            ],
            "has_more": False,
            "first_id": names[0],
            "last_id": names[-1],
        }
    )


def _anthropic_no_such(what: str) -> Answer:
    error = {"type": "not_found_error", "message": what}
    return _json({"type": "error", "error": error, "request_id": "req_x"}, 404)


def _anthropic_files(request: Request, kept: Kept) -> Answer:
    name, content = _uploaded(request)
    file = {
        "id": kept.new_id("file_"),
        "type": "file",
        "filename": name,
        "mime_type": "application/octet-stream",
        "size_bytes": len(content),
        "created_at": "2026-02-01T00:00:00Z",
        "downloadable": False,
    }
    kept.keep(str(file["id"]), request.key, file, content)
    return _json(file)


def _anthropic_file(request: Request, kept: Kept, name: str) -> Answer:
    thing = kept.of(request.key, name)
    if thing is None:
        return _anthropic_no_such(f"File not found: {name}")
    if request.method == "DELETE":
        kept.drop(name)
        return _json({"id": name, "type": "file_deleted"})
    return _json(thing.shown)


def _message_batches(request: Request, kept: Kept) -> Answer:
    counts = dict.fromkeys(("processing", "succeeded", "errored", "canceled", "expired"), 0)
    name = kept.new_id("msgbatch_")
    batch = {
        "id": name,
        "type": "message_batch",
        "processing_status": "ended",
        "request_counts": counts | {"succeeded": len(request.json().get("requests") or ())},
        "created_at": "2026-02-01T00:00:00Z",
        "expires_at": "2026-02-02T00:00:00Z",
        "ended_at": "2026-02-01T00:01:00Z",
        "cancel_initiated_at": None,
        "archived_at": None,
        "results_url": f"https://api.anthropic.com/v1/messages/batches/{name}/results",
    }
    kept.keep(name, request.key, batch)
    return _json(batch)


def _message_batch(request: Request, kept: Kept, name: str, more: str | None) -> Answer:
    thing = kept.of(request.key, name)
    if thing is None:
        return _anthropic_no_such(f"Message batch not found: {name}")
    if more == "/cancel":
        thing.shown["processing_status"] = "canceling"
    return _json(thing.shown)


def _nothing_missing(request: Request, kept: Kept) -> Answer | None:
    return None


# --- Gemini


def _generate(request: Request, events: int) -> Answer:
    return _json(_gemini_chunk(request, _gemini_parts(request, TEXT), last=True))


def _stream_generate(request: Request, events: int) -> Answer:
    tool = _gemini_tool(request)
    if tool:
        chunks = [_gemini_chunk(request, _gemini_parts(request, ""), last=True)]
    else:
        words = list(_words(events))
        chunks = [
            _gemini_chunk(request, [{"text": word}], last=number == len(words) - 1)
            for number, word in enumerate(words)
        ]
    if request.query.get("alt") == "sse":
        parts = [b"data: " + _dump(chunk) + b"\r\n\r\n" for chunk in chunks]
        return Answer(parts, SSE_TYPE, is_stream=True)
    # Without alt=sse: one JSON array, printed over many lines, an element at a time.
    printed = [json.dumps(chunk, ensure_ascii=False, indent=2).encode() for chunk in chunks]
    parts = [b"[" + printed[0], *(b",\r\n" + chunk for chunk in printed[1:]), b"]"]
    return Answer(parts, "application/json; charset=UTF-8", is_stream=True)


def _gemini_tool(request: Request) -> str | None:
    for tool in request.json().get("tools") or ():
        for name in ("functionDeclarations", "function_declarations"):
            for declared in tool.get(name) or ():
                return str(declared["name"])
    return None


def _gemini_parts(request: Request, text: str) -> list[dict[str, Any]]:
    if tool := _gemini_tool(request):
        return [{"functionCall": {"name": tool, "args": ARGUMENTS}}]
    return [{"text": text}]


def _gemini_chunk(request: Request, parts: list[dict[str, Any]], *, last: bool) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": parts}, "index": 0}
    if last:
        candidate["finishReason"] = "STOP"
    return {
        "candidates": [candidate],
        "usageMetadata": {
            "promptTokenCount": 9,
            "candidatesTokenCount": 12,
            "totalTokenCount": 21,
        },
        "modelVersion": _gemini_model(request),
        "responseId": f"r{request.number}",
    }


def _gemini_model(request: Request) -> str:
    return request.path.rpartition("/")[2].partition(":")[0]


def _count_gemini(request: Request, events: int) -> Answer:
    return _json({"totalTokens": 14})


def _embed(request: Request, events: int) -> Answer:
    return _json({"embedding": {"values": list(VECTOR)}})


def _embed_batch(request: Request, events: int) -> Answer:
    count = len(request.json().get("requests") or [0])
    return _json({"embeddings": [{"values": list(VECTOR)}] * count})


def _denied(what: str) -> Answer:
    message = f"You do not have permission to access {what} or it may not exist."
    return _json({"error": {"code": 403, "message": message, "status": "PERMISSION_DENIED"}}, 403)


def _upload(request: Request, kept: Kept) -> Answer:
    """Google's resumable protocol: a start that names a URL, then the bytes to that URL."""
    commands = (request.get("x-goog-upload-command") or "").replace(" ", "").split(",")
    if "start" in commands:
        upload = kept.new_id("upload-")
        kept.keep(upload, request.key, request.json().get("file") or {})
        scheme = "https" if request.tls else "http"
        # As Google may: the key of the call stands in the URL.
        query = f"key={request.key}&upload_id={upload}&upload_protocol=resumable"
        url = f"{scheme}://{request.get('host')}{request.path}?{query}"
        chunk = ("X-Goog-Upload-Chunk-Granularity", "8")
        named = [("X-Goog-Upload-URL", url), ("X-Goog-Upload-Control-URL", url)]
        return Answer([b""], fields=[*named, ("X-Goog-Upload-Status", "active"), chunk])
    thing = kept.of(request.key, request.query.get("upload_id", ""))
    if thing is None:
        return _denied(f"the upload {request.query.get('upload_id')}")
    thing.content += request.body
    if "finalize" not in commands:
        size = str(len(thing.content))
        status = [("X-Goog-Upload-Status", "active"), ("X-Goog-Upload-Size-Received", size)]
        return Answer([b""], fields=status)
    name = f"files/{kept.new_id('f-')}"
    file = {
        "name": name,
        "displayName": thing.shown.get("displayName") or thing.shown.get("display_name") or "",
        "mimeType": "text/plain",
        "sizeBytes": str(len(thing.content)),
        "createTime": "2026-02-01T00:00:00Z",
        "uri": f"https://generativelanguage.googleapis.com/v1beta/{name}",
        "state": "ACTIVE",
    }
    kept.keep(name, request.key, file, bytes(thing.content))
    return _json({"file": file}, fields=[("X-Goog-Upload-Status", "final")])


def _cached_contents(request: Request, kept: Kept) -> Answer:
    name = f"cachedContents/{kept.new_id('c-')}"
    shown = {
        "name": name,
        "model": request.json().get("model"),
        "createTime": "2026-02-01T00:00:00Z",
        "updateTime": "2026-02-01T00:00:00Z",
        "expireTime": "2099-02-01T00:00:00Z",
    }
    kept.keep(name, request.key, shown)
    return _json(shown)


def _gemini_thing(request: Request, kept: Kept, name: str) -> Answer:
    thing = kept.of(request.key, name)
    if thing is None:
        return _denied(name)
    if request.method == "DELETE":
        kept.drop(name)
        return _json({})
    return _json(thing.shown)


_NAMED_FILE = re.compile(r'"(?:fileUri|file_uri)"\s*:\s*"[^"]*/(files/[^"]+)"')


def _gemini_missing(request: Request, kept: Kept) -> Answer | None:
    said = request.json()
    cached = said.get("cachedContent") or said.get("cached_content")
    if cached and kept.of(request.key, cached) is None:
        return _denied(f"the CachedContent {cached}")
    for name in _NAMED_FILE.findall(bytes(request.body).decode("utf-8", "replace")):
        if kept.of(request.key, name) is None:
            return _denied(f"the File {name}")
    return None


def _gemini_models(request: Request, events: int) -> Answer:
    return _json(
        {
            "models": [
                {
                    "name": f"models/{name}",
                    "version": "001",
                    "displayName": name,
                    "description": "A scripted model.",
                    "inputTokenLimit": 1_048_576,
                    "outputTokenLimit": 65_536,
                    "supportedGenerationMethods": ["generateContent", "countTokens"],
                }
                for name in MODELS["gemini"]
            ]
        }
    )


# Calls about what is kept: whatever their expressions' groups found comes behind.
_KEEPING: dict[str, tuple[tuple[str, Callable[..., Answer]], ...]] = {
    "openai": (
        (r"/files$", _files),
        (r"/files/([^/]+)(/content)?$", _file),
        (r"/batches$", _batches),
        (r"/batches/([^/]+)(/cancel)?$", _batch),
        (r"/responses/([^/]+)$", _response),
    ),
    "anthropic": (
        (r"/messages/batches$", _message_batches),
        (r"/messages/batches/([^/]+)(/\w+)?$", _message_batch),
        (r"/files$", _anthropic_files),
        (r"/files/([^/]+)$", _anthropic_file),
    ),
    "gemini": (
        (r"^/upload/[^/]+/files$", _upload),
        (r"/cachedContents$", _cached_contents),
        (r"/((?:files|cachedContents)/[^/:]+)$", _gemini_thing),
    ),
}
# Calls that only name something: an answer when it isn't theirs.
_MISSING: dict[str, Callable[[Request, Kept], Answer | None]] = {
    "openai": _openai_missing,
    "anthropic": _nothing_missing,
    "gemini": _gemini_missing,
}
Maker = Callable[[Request, int], Answer]
_ROUTES: dict[str, tuple[tuple[str, Maker], ...]] = {
    "openai": (
        (r"/chat/completions$", _chat),
        (r"/responses$", _responses),
        (r"/embeddings$", _embeddings),
        (r"/models$", _openai_models),
    ),
    "anthropic": (
        (r"/messages/count_tokens$", _count_messages),
        (r"/messages$", _messages),
        (r"/models$", _anthropic_models),
    ),
    "gemini": (
        (r":generateContent$", _generate),
        (r":streamGenerateContent$", _stream_generate),
        (r":countTokens$", _count_gemini),
        (r":embedContent$", _embed),
        (r":batchEmbedContents$", _embed_batch),
        (r"/models$", _gemini_models),
    ),
}
