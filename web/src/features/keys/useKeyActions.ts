import { useQueryClient } from '@tanstack/vue-query';
import { ref, shallowRef } from 'vue';
import { useI18n } from 'vue-i18n';

import { statesQuery } from '@/api/groups';
import { ApiError } from '@/api/errors';
import type { Group, Key, Task } from '@/api/shapes';
import { whole } from '@/lib/format';
import { figureOf, receiptOf } from '@/lib/receipts';
import { confirm, type Question, toast } from '@/ui';

import {
  act,
  type Acted,
  type Deed,
  fetchTask,
  type KeyFilter,
  MOST_IDS,
  TEST_SLICE,
  type Tested,
  undelete,
} from './queries';

/** Keys that a deed is for: these, or as many as match a filter. */
export type Meant =
  { ids: number[]; rows: Key[] } | { filter: KeyFilter; count: number; isWholeGroup: boolean };

interface Value {
  weight?: number;
  note?: string;
}

/** Over this, a dialog names the number first. */
const ASKED_FROM = 100;
/** So many are tested while one waits; more are a task's business. */
const TESTED_HERE = 500;

export function countOf(meant: Meant): number {
  return 'ids' in meant ? meant.ids.length : meant.count;
}

/**
 * What is done to keys of a group: question → deed → Undo, or a task that `began` hears of.
 * `changed` is called when what is shown is old.
 */
export function useKeyActions(
  group: () => Group,
  on: {
    /** Rows may look different. */
    changed: () => unknown;
    /** There are other rows. */
    moved: () => unknown;
    began: (task: Task) => unknown;
  },
) {
  const { t, locale } = useI18n();
  const client = useQueryClient();
  const busy = ref<Deed | null>(null);
  /** A test that goes on here: how many are done. */
  const testing = ref<{ done: number; total: number } | null>(null);
  const results = shallowRef<Tested[] | null>(null);
  let stopTest = false;

  const shown = (count: number): string => whole(count, locale.value);

  function question(deed: Deed, meant: Meant): Question | null {
    const count = countOf(meant);
    const isAll = !('ids' in meant) && meant.isWholeGroup;
    const cutsTraffic = deed === 'delete' || deed === 'disable';
    if (count <= ASKED_FROM && !(isAll && cutsTraffic && count > 1)) return null;
    const values = { count: shown(count), group: group().name };
    return {
      title: t(`keys.ask.${deed}`, values, count),
      text: isAll && cutsTraffic ? t('keys.ask_all', values) : t(`keys.ask_text.${deed}`, values),
      button: t(`keys.ask_button.${deed}`, values, count),
      ...(cutsTraffic && { kind: 'danger' as const }),
      ...(isAll && cutsTraffic && { typed: group().name }),
    };
  }

  function tell(deed: Deed, problem: unknown): void {
    if (!(problem instanceof ApiError)) throw problem;
    const detail = [problem.message, problem.hint].filter(Boolean).join(' ');
    toast({ kind: 'danger', text: t(`keys.failed.${deed}`), detail });
  }

  /** Do it, in slices that the node takes; a count that moved is asked about again. */
  async function send(deed: Deed, meant: Meant, value: Value): Promise<Acted[]> {
    if (!('ids' in meant)) {
      const { filter, count } = meant;
      try {
        return [await act(group().id, deed, { filter, expected: count }, value)];
      } catch (problem) {
        const now = problem instanceof ApiError && movedCount(problem);
        if (now === false || now === null) throw problem;
        const goesOn = await confirm({
          title: t('keys.count_moved', { count: shown(now) }, now),
          text: t('keys.count_moved_text', { before: shown(count) }),
          button: t(`keys.ask_button.${deed}`, { count: shown(now) }, now),
        });
        return goesOn ? send(deed, { ...meant, count: now }, value) : [];
      }
    }
    const done: Acted[] = [];
    for (let start = 0; start < meant.ids.length; start += MOST_IDS) {
      const ids = meant.ids.slice(start, start + MOST_IDS);
      done.push(await act(group().id, deed, { ids }, value));
    }
    return done;
  }

  async function run(
    deed: Exclude<Deed, 'test'>,
    meant: Meant,
    value: Value = {},
  ): Promise<boolean> {
    if (busy.value || countOf(meant) === 0) return false;
    const asked = question(deed, meant);
    if (asked && !(await confirm(asked))) return false;
    busy.value = deed;
    try {
      const done = await send(deed, meant, value);
      if (done.length === 0) return false;
      for (const { task } of done) if (task) on.began(task);
      if (!done.some(({ task }) => task)) receipt(deed, meant, done);
      return true;
    } catch (problem) {
      tell(deed, problem);
      return false;
    } finally {
      busy.value = null;
      refresh();
    }
  }

  function receipt(deed: Deed, meant: Meant, done: Acted[]): void {
    const count = done.reduce((sum, one) => sum + one.changed, 0);
    const undo = undoOf(deed, meant, done);
    toast({
      text: t(`keys.done.${deed}`, { count: shown(count) }, count),
      ...(undo && { undo: () => undo().then(refresh, (problem) => tell(deed, problem)) }),
    });
  }

  function undoOf(deed: Deed, meant: Meant, done: Acted[]): (() => Promise<unknown>) | null {
    const batches = done.flatMap(({ undo }) => (undo ? [undo.batch] : []));
    if (batches.length) return () => giveBack(batches);
    if (!('ids' in meant) || meant.rows.length < meant.ids.length) return null;
    const { rows } = meant;
    // Back to what each was; those that it changed nothing for are left alone.
    if (deed === 'disable') {
      const ids = rows.filter(({ state }) => state !== 'disabled').map(({ id }) => id);
      return ids.length ? () => act(group().id, 'enable', { ids }) : null;
    }
    if (deed === 'enable') {
      const ids = rows.filter(({ state }) => state === 'disabled').map(({ id }) => id);
      return ids.length ? () => act(group().id, 'disable', { ids }) : null;
    }
    if (deed !== 'weight' && deed !== 'note') return null;
    const before = new Map<string | number, number[]>();
    for (const row of rows) {
      const old = deed === 'weight' ? row.weight : row.notes;
      before.set(old, [...(before.get(old) ?? []), row.id]);
    }
    return async () => {
      for (const [old, ids] of before) {
        await act(group().id, deed, { ids }, { [deed]: old });
      }
    };
  }

  async function giveBack(batches: string[]): Promise<void> {
    let count = 0;
    for (const batch of batches) count += await undelete(batch);
    toast({ text: t('keys.returned', { count: shown(count) }, count) });
    refresh();
    on.moved();
  }

  /** Few are tested here, slice by slice, so that it can be stopped; many become a task. */
  async function test(meant: Meant, isAgreed = false): Promise<void> {
    if (busy.value || countOf(meant) === 0) return;
    if (!('ids' in meant) || meant.ids.length > TESTED_HERE) return testMany(meant, isAgreed);
    busy.value = 'test';
    stopTest = false;
    const found: Tested[] = [];
    testing.value = { done: 0, total: meant.ids.length };
    try {
      for (let start = 0; start < meant.ids.length && !stopTest; start += TEST_SLICE) {
        const ids = meant.ids.slice(start, start + TEST_SLICE);
        found.push(...((await act(group().id, 'test', { ids })).results ?? []));
        testing.value = { done: start + ids.length, total: meant.ids.length };
      }
    } catch (problem) {
      tell('test', problem);
    } finally {
      busy.value = null;
      testing.value = null;
      refresh();
    }
    if (found.length) results.value = found;
  }

  async function testMany(meant: Meant, isAgreed: boolean): Promise<void> {
    const asked = isAgreed ? null : question('test', meant);
    if (asked && !(await confirm(asked))) return;
    busy.value = 'test';
    try {
      for (const done of await send('test', meant, {})) {
        if (done.task) on.began(done.task);
        else if (done.results) results.value = [...(results.value ?? []), ...done.results];
      }
    } catch (problem) {
      tell('test', problem);
    } finally {
      busy.value = null;
      refresh();
    }
  }

  /** What came of long work, when it is over. */
  async function ended(taskId: number): Promise<void> {
    refresh();
    const task = await fetchTask(taskId).catch(() => null);
    if (!task || task.state === 'failed') return;
    const receipt = receiptOf(task.result);
    const { undoBatch } = receipt;
    const deleted = figureOf(receipt, 'deleted');
    const valid = figureOf(receipt, 'valid');
    if (undoBatch && deleted) {
      toast({
        text: t('keys.done.delete', { count: shown(deleted) }, deleted),
        undo: () => giveBack([undoBatch]).catch((problem) => tell('delete', problem)),
      });
    } else if (valid !== undefined) {
      toast({ text: t('keys.done.test', { count: shown(valid) }, valid) });
    }
  }

  /** Whatever shows keys or their numbers is old. */
  function refresh(): void {
    void client.invalidateQueries({ queryKey: ['keys', group().id] });
    void client.invalidateQueries({ queryKey: statesQuery.queryKey });
    void client.invalidateQueries({ queryKey: ['dashboard'] });
    on.changed();
  }

  return {
    run,
    test,
    busy,
    testing,
    results,
    ended,
    refresh,
    stopTesting: (): void => {
      stopTest = true;
    },
  };
}

export type KeyActions = ReturnType<typeof useKeyActions>;

/** How many keys there are by now, of a refusal that says so. */
function movedCount(problem: ApiError): number | null {
  if (problem.code !== 'COUNT_MOVED') return null;
  const { count } = (problem.details.data ?? {}) as { count?: unknown };
  return typeof count === 'number' ? count : null;
}
