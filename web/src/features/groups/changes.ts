/** What a draft changes, in words that a person can check. Pure but for the words. */
import { copyOf, type Difference, differences } from '@/lib/drafts';

import { type Section, sectionOfPath } from './sections';
import { shift, type UpstreamRow } from './upstreams';

type Say = (key: string, values?: Record<string, unknown>) => string;

export interface ShownChange {
  path: string;
  /** The field's name for people. */
  label: string;
  section: Section;
  /** Null: there was, or is, nothing of the group's own. */
  before: string | null;
  after: string | null;
  /** What it means for the traffic, where that is known. */
  consequence: string | null;
}

interface Words {
  t: Say;
  /** Name of a setting. */
  nameOf: (key: string) => string;
  /** What a setting's inherited value is, with its unit. */
  inherited: (key: string) => string;
}

export function shownChanges(
  before: object,
  after: object,
  words: Words,
  serves: boolean,
): ShownChange[] {
  return differences(copyOf(before), copyOf(after)).map((difference) => {
    const { path } = difference;
    return {
      path,
      label: labelOf(path, words),
      section: sectionOfPath(path),
      before: text(difference.before, path, words),
      after: text(difference.after, path, words),
      consequence: consequence(difference, before, after, words.t, serves),
    };
  });
}

function labelOf(path: string, { t, nameOf }: Words): string {
  const [field = '', ...rest] = path.split('.');
  if (field === 'config' && rest[0]) return nameOf(rest[0]);
  const name = t(`groups.field.${field}`);
  return rest.length ? `${name} › ${rest.map(placed).join(' › ')}` : name;
}

/** Lists count from 1 for people. */
function placed(part: string): string {
  return /^\d+$/.test(part) ? String(Number(part) + 1) : part;
}

function text(value: unknown, path: string, { t, inherited }: Words): string | null {
  const [field, key] = path.split('.');
  if (value === undefined || value === null) {
    return field === 'config' && key ? t('groups.inherits', { value: inherited(key) }) : null;
  }
  return wording(value, t);
}

/** A value as one line or a few. */
export function wording(value: unknown, t: Say): string {
  if (value === '') return t('groups.unset');
  if (typeof value === 'boolean') return t(value ? 'groups.on' : 'groups.off');
  if (typeof value === 'string' || typeof value === 'number') return String(value);
  if (Array.isArray(value)) {
    return value.length ? value.map(line).join('\n') : t('groups.nothing');
  }
  return value && Object.keys(value).length ? JSON.stringify(value) : t('groups.nothing');
}

function line(item: unknown): string {
  if (typeof item !== 'object' || item === null) return String(item);
  const found = item as Record<string, unknown>;
  if ('url' in found) return `${String(found.url)} · ${String(found.weight)}`;
  if ('action' in found) {
    return found.action === 'remove'
      ? `− ${String(found.key)}`
      : `${String(found.key)}: ${String(found.value)}`;
  }
  return JSON.stringify(item);
}

function consequence(
  { path, after }: Difference,
  base: object,
  draft: object,
  t: Say,
  serves: boolean,
): string | null {
  const field = path.split('.')[0];
  if (field === 'upstreams') return upstreamShift(base, draft, t);
  if (!serves) return null;
  if (path === 'name') return t('groups.consequence.name', { name: String(after) });
  if (path === 'channel_type') return t('groups.consequence.channel');
  if (path === 'model_redirect_strict' && after === true) return t('groups.consequence.strict');
  if (path === 'config.max_retries' && after === 0) return t('groups.consequence.no_retries');
  if (path === 'config.enable_request_body_logging' && after === true) {
    return t('groups.consequence.bodies');
  }
  return null;
}

function upstreamShift(base: object, draft: object, t: Say): string | null {
  const of = (value: object): UpstreamRow[] => (value as { upstreams: UpstreamRow[] }).upstreams;
  const moves = shift(of(base), of(draft)).map(({ url, from, to }) =>
    t('groups.consequence.share', { url, from: `${from} %`, to: `${to} %` }),
  );
  return moves.length ? moves.join('\n') : null;
}
