"""What each API keeps for the account that made it, and for how long.

Follow-up calls that name it must go to the key that made it (`gptload.core.sticky`).

Sources: OpenAI's OpenAPI document, "Your data" and the guides of its tools; Anthropic's
API reference, "Message Batches", "Files" and "Code execution tool"; Gemini API
reference, "Files", "Caching", "Batch", "Interactions" and "Video".
"""

from __future__ import annotations

import re
from typing import Final

from gptload.core.resttime import DAY_S, HOUR_S
from gptload.provider import Kind, Resources, Within

_NOT_STORED: Final = rb'"store"\s*:\s*false'
_STORED: Final = rb'"store"\s*:\s*true'

# Twenty minutes after its last use; a session that goes on may use it for long.
_OPENAI_CONTAINER: Final = Within(
    re.compile(rb'"container_id"\s*:\s*"([^"\\]{1,200})"'), DAY_S, rb'"code_interpreter"|"shell"'
)
_BATCH_FILES: Final = Within(
    re.compile(rb'"(?:output|error)_file_id"\s*:\s*"([^"\\]{1,200})"'), 30 * DAY_S
)
_JOB_FILES: Final = Within(re.compile(rb'"(file-[^"\\]{1,200})"'), 30 * DAY_S)
_THREAD: Final = Within(re.compile(rb'"(thread_(?!id")[^"\\]{1,200})"'), 60 * DAY_S)

OPENAI: Final = Resources(
    kinds=(
        Kind(
            rb"responses",
            ("id", "response.id"),
            30 * DAY_S,
            unless=_NOT_STORED,
            within=_OPENAI_CONTAINER,
        ),
        Kind(rb"chat/completions", life_s=30 * DAY_S, when=_STORED),
        Kind(rb"files", ends="expires_at"),
        Kind(rb"uploads", life_s=HOUR_S, ends="expires_at"),
        Kind(rb"uploads/[^/]+/complete", ("file.id",)),
        Kind(rb"batches"),
        Kind(rb"batches/[^/]+", ids=(), method=b"GET", within=_BATCH_FILES),
        Kind(rb"fine_tuning/jobs"),
        Kind(rb"fine_tuning/jobs/[^/]+", ids=(), method=b"GET", within=_JOB_FILES),
        Kind(rb"vector_stores", ends="expires_at"),
        Kind(rb"containers", life_s=DAY_S),
        Kind(rb"conversations"),
        Kind(rb"assistants"),
        Kind(rb"threads", life_s=60 * DAY_S),
        Kind(rb"threads/runs", ids=(), within=_THREAD),
        Kind(rb"evals"),
        Kind(rb"videos(?:/[^/]+/remix)?", life_s=2 * DAY_S, ends="expires_at"),
        Kind(rb"audio/voices|audio/voice_consents"),
        Kind(rb"skills"),
    ),
    collections=(
        *(b"responses", b"completions", b"files", b"uploads", b"batches", b"jobs"),
        *(b"vector_stores", b"containers", b"conversations", b"assistants", b"threads"),
        *(b"evals", b"videos", b"voices", b"voice_consents", b"skills"),
    ),
    members=(
        *(b"previous_response_id", b"conversation", b"thread_id", b"container", b"container_id"),
        *(b"file_id", b"input_file_id", b"file_ids", b"training_file", b"validation_file"),
        *(b"vector_store_id", b"vector_store_ids", b"assistant_id", b"eval_id", b"skill_id"),
        *(b"voice", b"consent"),
    ),
)

# A container is kept for thirty days after it was made.
_ANTHROPIC_CONTAINER: Final = Within(
    re.compile(rb'"container"\s*:\s*\{\s*"id"\s*:\s*"([^"\\]{1,200})"'),
    30 * DAY_S,
    rb'"container"|"code_execution',
)

ANTHROPIC: Final = Resources(
    kinds=(
        Kind(rb"messages", ids=(), within=_ANTHROPIC_CONTAINER),
        # `expires_at` is when it stops working; its results stay longer.
        Kind(rb"messages/batches", life_s=29 * DAY_S),
        Kind(rb"v1/(?:files|skills|agents|sessions|environments|memory_stores|vaults)"),
    ),
    collections=(
        *(b"batches", b"files", b"skills", b"agents", b"sessions", b"environments"),
        *(b"memory_stores", b"vaults"),
    ),
    members=(
        *(b"container", b"file_id", b"skill_id", b"agent", b"environment_id"),
        *(b"memory_store_id", b"vault_ids"),
    ),
)

_GEMINI_FILES: Final = Within(re.compile(rb"\bfiles\\?/([\w-]{1,100})"), 2 * DAY_S)

GEMINI: Final = Resources(
    kinds=(
        # The upload's last step; the first one's answer has no file.
        Kind(rb"upload/[^/]+/files", ("file.name",), 2 * DAY_S, "file.expirationTime"),
        Kind(rb"cachedContents", ("name",), HOUR_S, "expireTime"),
        Kind(rb"cachedContents/[^/]+", ("name",), HOUR_S, "expireTime", method=b"PATCH"),
        Kind(
            rb"[^/]+(?::|%3[Aa])(?:batchGenerateContent|asyncBatchEmbedContent)",
            ("name",),
            30 * DAY_S,
        ),
        Kind(rb"[^/]+(?::|%3[Aa])predictLongRunning", ("name",), 2 * DAY_S),
        # What they have made since is told when somebody asks.
        Kind(rb"(?:operations|batches)/[^/:]+", ids=(), method=b"GET", within=_GEMINI_FILES),
        Kind(rb"fileSearchStores", ("name",)),
        Kind(rb"interactions", ("id", "interaction.id"), 55 * DAY_S, unless=_NOT_STORED),
        Kind(rb"openai/(?:files|batches)", ("id",), 30 * DAY_S),
    ),
    collections=(
        *(b"files", b"cachedContents", b"batches", b"operations", b"fileSearchStores"),
        b"interactions",
    ),
    members=(
        *(b"previous_interaction_id", b"cachedContent", b"cached_content"),
        *(b"fileUri", b"file_uri", b"fileName", b"file_name", b"file_id", b"input_file_id"),
        *(b"fileSearchStoreNames", b"file_search_store_names", b"uri"),
    ),
)
