"""`/api/tasks`: long work, how far it is, what came of it, and what of it once more."""

from __future__ import annotations

from twisted.web.iweb import IRequest

from gptload.control.admin.access import client_address
from gptload.control.admin.audit import tell
from gptload.control.admin.replies import page, reply
from gptload.control.admin.requests import body_or, identifier, paging, query
from gptload.control.admin.routing import make_routes
from gptload.control.admin.schemas import NO_TASK, TaskRetry, task_json, task_status_json
from gptload.control.audit import Change
from gptload.control.db.queries.tasks import STATES
from gptload.control.keyactions import KeyActions
from gptload.control.tasks import Tasks
from gptload.core.errors import ValidationFailed


class TaskRoutes:
    """Holds no state of its own."""

    routes = make_routes()

    def __init__(self, tasks: Tasks, actions: KeyActions) -> None:
        self._tasks = tasks
        self._actions = actions

    @routes.route("/api/tasks/status", methods=["GET"])
    async def status(self, request: IRequest) -> bytes:
        task = await self._tasks.latest()
        return reply(request, NO_TASK if task is None else task_status_json(task))

    @routes.route("/api/tasks", methods=["GET"])
    async def listed(self, request: IRequest) -> bytes:
        number, size = paging(request)
        state = query(request, "state")
        if state not in ("", *STATES):
            raise ValidationFailed(f"state is one of {', '.join(STATES)}")
        found, total = await self._tasks.page(state=state, offset=(number - 1) * size, limit=size)
        return page(request, [task_json(task) for task in found], number, size, total)

    @routes.route("/api/tasks/<task_id>", methods=["GET"])
    async def one(self, request: IRequest, task_id: str) -> bytes:
        number = identifier(task_id, "Invalid task ID format")
        return reply(request, task_json(await self._tasks.one(number)))

    @routes.route("/api/tasks/<task_id>/cancel", methods=["POST"])
    async def cancel(self, request: IRequest, task_id: str) -> bytes:
        number = identifier(task_id, "Invalid task ID format")
        return reply(request, task_json(await self._tasks.cancel(number)))

    @routes.route("/api/tasks/<task_id>/retry", methods=["POST"])
    async def retry(self, request: IRequest, task_id: str) -> bytes:
        number = identifier(task_id, "Invalid task ID format")
        which = body_or(request, TaskRetry()).which
        begun = await self._actions.retry(number, which)
        await self._tasks.sign(begun.id, client_address(request))
        tell(request, Change(None, {"which": which, "task_id": begun.id, "count": begun.total}))
        return reply(request, task_json(begun))
