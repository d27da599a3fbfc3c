/** The columns of a group's keys, beside state and key. Pure. */
import type { Choice } from '@/lib/columns';
import type { Column } from '@/ui';

interface Place extends Omit<Column, 'id' | 'label'> {
  /** Of the row. */
  field: string;
  /** Shown unless somebody chose. */
  usual?: boolean;
}

const PLACES: Record<string, Place> = {
  reason: { field: 'reason', grow: 3, usual: true },
  returns: { field: 'rest_until', width: 96, sort: 'rest', usual: true },
  weight: { field: 'weight', width: 72, align: 'end', sort: 'weight', usual: true },
  requests: { field: 'request_count', width: 88, align: 'end', sort: 'requests', usual: true },
  strikes: { field: 'failure_count', width: 72, align: 'end', sort: 'strikes', usual: true },
  used: { field: 'last_used_at', width: 96, align: 'end', sort: 'used', usual: true },
  note: { field: 'notes', grow: 2 },
  account: { field: 'account', grow: 1 },
  added: { field: 'created_at', width: 96, align: 'end', sort: 'id' },
};

export const CHOICE: Choice = {
  all: Object.keys(PLACES),
  usual: Object.keys(PLACES).filter((id) => PLACES[id]!.usual),
};

export function columnsOf(ids: readonly string[], label: (id: string) => string): Column[] {
  const shown = ids.map((id): Column => {
    const { field, usual: _, ...place } = PLACES[id]!;
    return { id: field, label: label(id), ...place };
  });
  // Something has to fill the line.
  const hasWide = shown.some(({ grow }) => grow);
  return [
    { id: 'kind', label: label('state'), width: 112 },
    { id: 'key_value', label: label('key'), ...(hasWide ? { width: 168 } : { grow: 1 }) },
    ...shown,
  ];
}
