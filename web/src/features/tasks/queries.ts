import { api, data, dataAs, slowApi } from '@/api/client';
import type { Pagination, Task } from '@/api/shapes';

export const PAGE_SIZE = 50;

/** `page` counts from 1; the newest first. */
export function fetchTasks(
  page: number,
  state: string,
  signal?: AbortSignal,
): Promise<{ items: Task[]; pagination: Pagination }> {
  const query = { page, page_size: PAGE_SIZE, ...(state ? { state } : {}) };
  return dataAs(api.GET('/api/tasks', { params: { query: query as never }, signal }));
}

export function cancelTask(id: number): Promise<Task> {
  return data(api.POST('/api/tasks/{task_id}/cancel', { params: { path: { task_id: id } } }));
}

/** The task that does it. `rejected`: keys that a test found to be bad, not what it failed at. */
export function retryTask(id: number, which: 'failed' | 'rejected'): Promise<Task> {
  const params = { path: { task_id: id } };
  return data(api.POST('/api/tasks/{task_id}/retry', { params, body: { which } }));
}

/** Deletions of a group that can still be taken back: until when, by batch. */
export async function fetchUndoable(
  groupId: number,
  signal?: AbortSignal,
): Promise<Map<string, number>> {
  const query = { group_id: String(groupId) };
  const found = await data(api.GET('/api/keys/deleted', { params: { query }, signal }));
  return new Map(found.map((one) => [one.batch, Date.parse(one.kept_until)]));
}

export async function undelete(batch: string): Promise<number> {
  const call = slowApi.POST('/api/keys/undelete', { body: { batch } });
  return (await dataAs<{ returned_count: number }>(call)).returned_count;
}

/** Delete those keys that an import added and that are still there. */
export function removeAdded(task: Task): Promise<{
  changed: number;
  task: Task | null;
  undo: { batch: string } | null;
}> {
  const body = { group_id: task.group_id, action: 'delete', filter: { task: task.id } };
  return dataAs(slowApi.POST('/api/keys/actions', { body: body as never }));
}
