"""What makes `twistd gptload` exist; everything else is in `gptload.tap`."""

from twisted.application.service import ServiceMaker

gptload = ServiceMaker(
    "gptload",
    "gptload.tap",
    "One address in front of many AI-API keys.",
    "gptload",
)
