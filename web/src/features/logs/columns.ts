/** The columns of the log. Pure. */
import type { Choice } from '@/lib/columns';
import type { Column } from '@/ui';

interface Place {
  id: string;
  /** What the node calls it, in an export. */
  fields: readonly string[];
  width?: number;
  grow?: number;
  align?: 'end';
  /** On a phone too. */
  narrow?: number;
  /** Shown unless somebody chose. */
  usual?: boolean;
}

const PLACES: readonly Place[] = [
  { id: 'time', fields: ['timestamp'], width: 130, narrow: 84, usual: true },
  { id: 'result', fields: ['is_success', 'outcome'], width: 136, narrow: 36, usual: true },
  { id: 'code', fields: ['status_code'], width: 60, narrow: 56, usual: true },
  { id: 'group', fields: ['parent_group_name', 'group_name'], grow: 1.7, usual: true },
  { id: 'model', fields: ['model'], grow: 1.1, narrow: 0, usual: true },
  { id: 'tries', fields: ['request_type', 'exchange_id'], width: 84, usual: true },
  {
    id: 'total',
    fields: ['duration_ms', 'total_ms'],
    width: 84,
    narrow: 72,
    align: 'end',
    usual: true,
  },
  { id: 'token', fields: ['first_token_ms'], width: 92, align: 'end', usual: true },
  { id: 'first', fields: ['first_byte_ms'], width: 100, align: 'end' },
  {
    id: 'tokens',
    fields: ['input_tokens', 'output_tokens'],
    width: 104,
    align: 'end',
    usual: true,
  },
  { id: 'cost', fields: ['cost_nano_usd'], width: 84, align: 'end' },
  { id: 'client', fields: ['source_ip'], width: 108, usual: true },
  { id: 'key', fields: ['key_value'], width: 128 },
  { id: 'upstream', fields: ['upstream_addr'], grow: 1 },
  { id: 'reason', fields: ['reason', 'error_message'], grow: 1 },
  { id: 'path', fields: ['method', 'request_path'], grow: 1.4 },
  { id: 'agent', fields: ['user_agent'], grow: 1 },
];

export const CHOICE: Choice = {
  all: PLACES.map(({ id }) => id),
  usual: PLACES.filter(({ usual }) => usual).map(({ id }) => id),
};

/** What an export of these columns is asked for. */
export function fieldsOf(ids: readonly string[]): string[] {
  return PLACES.filter(({ id }) => ids.includes(id)).flatMap(({ fields }) => fields);
}

export function columnsOf(
  ids: readonly string[],
  isNarrow: boolean,
  hasDays: boolean,
  label: (id: string) => string,
): Column[] {
  return PLACES.filter(({ id }) => ids.includes(id)).map(({ id, width, grow, align, narrow }) => ({
    id,
    label: isNarrow && id === 'result' ? '' : label(id),
    width: isNarrow ? narrow || undefined : id === 'time' && !hasDays ? 84 : width,
    grow,
    align,
    wide: narrow === undefined,
  }));
}
