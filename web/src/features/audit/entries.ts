/** What entries of the audit log mean, and which of them can be taken back. Pure. */
import type { components } from '@/api/schema';
import { type Difference, differences, isSame } from '@/lib/drafts';

export type Entry = components['schemas']['AuditEntry'];

/** A call, and what its text key says it did. The last one that fits counts for nothing else. */
const DEEDS: readonly [method: string, route: RegExp, deed: string][] = [
  ['POST', /^\/api\/groups$/, 'group_new'],
  ['PUT', /^\/api\/groups\/:id$/, 'group_change'],
  ['DELETE', /^\/api\/groups\/:id$/, 'group_delete'],
  ['POST', /^\/api\/groups\/:id\/copy$/, 'group_copy'],
  ['POST', /^\/api\/groups\/:id\/undo$/, 'group_undo'],
  ['POST', /^\/api\/groups\/:id\/reveal$/, 'group_reveal'],
  ['PUT', /^\/api\/groups\/reorder$/, 'group_reorder'],
  ['POST', /^\/api\/groups\/:id\/sub-groups$/, 'member_add'],
  ['PUT', /^\/api\/groups\/:id\/sub-groups\/:id\/weight$/, 'member_weight'],
  ['DELETE', /^\/api\/groups\/:id\/sub-groups\/:id$/, 'member_remove'],
  ['POST', /^\/api\/keys\/add-(async|multiple)$/, 'keys_add'],
  ['POST', /^\/api\/keys\/delete-(async|multiple)$/, 'keys_delete'],
  ['POST', /^\/api\/keys\/clear-all$/, 'keys_clear'],
  ['POST', /^\/api\/keys\/clear-all-invalid$/, 'keys_clear_invalid'],
  ['POST', /^\/api\/keys\/restore-(multiple|all-invalid)$/, 'keys_restore'],
  ['POST', /^\/api\/keys\/(test-multiple|validate-group)$/, 'keys_test'],
  ['POST', /^\/api\/keys\/undelete$/, 'keys_undelete'],
  ['PUT', /^\/api\/keys\/:id\/notes$/, 'key_note'],
  ['PUT', /^\/api\/keys\/:id\/state$/, 'key_state'],
  ['PUT', /^\/api\/keys\/:id\/weight$/, 'key_weight'],
  ['POST', /^\/api\/keys\/:id\/reveal$/, 'key_reveal'],
  ['GET', /^\/api\/keys\/export$/, 'keys_export'],
  ['POST', /^\/api\/keys\/export$/, 'keys_export'],
  ['GET', /^\/api\/logs\/export/, 'logs_export'],
  ['POST', /^\/api\/logs\/export/, 'logs_export'],
  ['PUT', /^\/api\/settings$/, 'settings_change'],
  ['POST', /^\/api\/settings\/history\/:id\/undo$/, 'settings_undo'],
  ['POST', /^\/api\/settings\/reveal$/, 'settings_reveal'],
  ['DELETE', /^\/api\/settings\/\w+$/, 'settings_unset'],
  ['POST', /^\/api\/tasks\/:id\/cancel$/, 'task_cancel'],
  ['POST', /^\/api\/tasks\/:id\/retry$/, 'task_retry'],
];

/** What `POST /api/keys/actions` may do to keys. */
const ACTIONS = ['test', 'restore', 'delete', 'enable', 'disable', 'weight', 'note'];

/** The name of what was done, as texts know it; null: only the route can say. */
export function deedOf(entry: Pick<Entry, 'method' | 'route' | 'after'>): string | null {
  if (entry.route === '/api/keys/actions') {
    const action = String(entry.after?.action ?? '');
    return ACTIONS.includes(action) ? `keys_${action}` : 'keys_actions';
  }
  const found = DEEDS.find(([method, route]) => method === entry.method && route.test(entry.route));
  return found ? found[2] : null;
}

/** What changed, field by field; of a call without a before, what it asked for. */
export function fieldsOf(entry: Pick<Entry, 'before' | 'after'>): Difference[] {
  if (entry.before === null && entry.after === null) return [];
  if (entry.before === null || entry.after === null) {
    return Object.entries(entry.before ?? entry.after ?? {})
      .filter(([, value]) => !isEmpty(value))
      .map(([path, value]) => ({
        path,
        before: entry.before === null ? undefined : value,
        after: entry.after === null ? undefined : value,
      }));
  }
  return differences(entry.before, entry.after);
}

function isEmpty(value: unknown): boolean {
  if (value === null || value === undefined || value === '' || value === false) return true;
  return typeof value === 'object' && Object.keys(value).length === 0;
}

/** How the log tells of what nobody may see: by its size. */
const SIZE = /^(\d{4,}) (characters|items|bytes)$/;

/** A value as one line; lists and objects as JSON. */
export function valueText(value: unknown): string {
  const size = typeof value === 'string' ? SIZE.exec(value) : null;
  if (size) return `${Number(size[1]).toLocaleString('en-US')} ${size[2]}`;
  if (value === undefined || value === null) return '—';
  if (value === '') return '""';
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}

/** How an entry can be taken back: the API offers a way for these, and for as long as it does. */
export type Way = 'settings' | 'keys' | 'group';

/** As long as the node keeps deleted keys. */
export const KEPT_MS = 10 * 60_000;

export function wayBack(entry: Entry, now: number): Way | null {
  const deed = deedOf(entry);
  if (entry.status === 0) return null; // nobody knows whether it happened
  if (entry.subject === 'settings' && entry.before && entry.after) {
    return Object.keys(entry.after).length > 0 ? 'settings' : null;
  }
  const isDeletion =
    deed === 'keys_delete' || deed === 'keys_clear' || deed === 'keys_clear_invalid';
  if (isDeletion) {
    const isKept = now - Date.parse(entry.at) < KEPT_MS;
    return isKept && typeof entry.after?.group_id === 'number' ? 'keys' : null;
  }
  const isGroup = deed === 'group_change' || deed === 'group_undo';
  return isGroup && entry.before && entry.after && !isHidden(entry.before) ? 'group' : null;
}

/** Whether something of it is masked or cut: that can't be given back. */
function isHidden(fields: object): boolean {
  const keys = Object.keys(fields);
  return (
    keys.length === 0 ||
    keys.includes('proxy_keys') ||
    /\*{4}|"\d+ bytes"/.test(JSON.stringify(fields))
  );
}

/** Fields that somebody has changed again since the entry. */
export function movedSince(entry: Entry, current: Record<string, unknown>): string[] {
  return (
    Object.entries(entry.after ?? {})
      // Of what is masked nobody can say.
      .filter(([, value]) => !JSON.stringify(value)?.includes('****'))
      .filter(([field, value]) => !isSame(value, current[field]))
      .map(([field]) => field)
  );
}
