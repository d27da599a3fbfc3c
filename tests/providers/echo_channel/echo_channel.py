"""The Echo API as a gptload channel: OpenAI's bodies, a key field and errors of its own."""

import json

from zope.interface import implementer

from gptload.provider import IProvider, Outcome, Probe, Rule, Scope, error_event, has_ended, sign_of


@implementer(IProvider)
class Echo:
    name = "echo"
    default_upstream = "https://api.echo.example"
    default_test_model = "echo-mini"
    default_validation_path = "/v1/chat/completions"
    errors = (
        Rule(Outcome.KEY_REJECTED, "unknown_key", status=(400, 401), code="unknown_key"),
        Rule(Outcome.KEY_EXHAUSTED, "empty", Scope.ACCOUNT, words="out of echoes"),
        Rule(Outcome.RATE_LIMITED, "too_loud", status=420, default_s=30),
    )

    def sign(self, request, key):
        request.set(b"X-Echo-Key", key)

    def model_in_path(self, path):
        return ""

    def redirect_path(self, path, model):
        return path

    def streams_by_path(self, path):
        return path.endswith(b"/stream")

    def probe(self, model, path):
        messages = [{"role": "user", "content": "hi"}]
        body = json.dumps({"model": model, "messages": messages, "max_tokens": 1})
        return Probe(b"POST", path.encode(), body.encode())

    def add_models(self, answer, names, only):
        kept = [] if only else answer["data"]
        answer["data"] = kept + [{"id": name, "object": "model"} for name in names]

    def error_body(self, status, code, message):
        return {"error": {"code": code, "message": message}}

    def stream_sign(self, event):
        return sign_of(event)

    def stream_ended(self, events):
        return has_ended(events)

    def stream_error(self, status, code, message):
        return error_event(self.error_body(status, code, message))


provider = Echo()
