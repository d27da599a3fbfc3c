/** The columns of the log. Pure. */
import type { Choice } from '@/lib/columns';
import type { Column } from '@/ui';

interface Place {
  id: string;
  width?: number;
  grow?: number;
  align?: 'end';
  /** On a phone too. */
  narrow?: number;
  /** Shown unless somebody chose. */
  usual?: boolean;
}

const PLACES: readonly Place[] = [
  { id: 'time', width: 130, narrow: 72, usual: true },
  { id: 'result', width: 148, narrow: 36, usual: true },
  { id: 'code', width: 60, narrow: 56, usual: true },
  { id: 'group', grow: 1.2, usual: true },
  { id: 'model', grow: 1.1, narrow: 0, usual: true },
  { id: 'tries', width: 84, usual: true },
  { id: 'total', width: 84, narrow: 72, align: 'end', usual: true },
  { id: 'token', width: 112, align: 'end', usual: true },
  { id: 'first', width: 100, align: 'end' },
  { id: 'tokens', width: 110, align: 'end', usual: true },
  { id: 'cost', width: 84, align: 'end' },
  { id: 'client', width: 120, usual: true },
  { id: 'key', width: 128 },
  { id: 'upstream', grow: 1 },
  { id: 'reason', grow: 1 },
  { id: 'path', grow: 1.4 },
  { id: 'agent', grow: 1 },
];

export const CHOICE: Choice = {
  all: PLACES.map(({ id }) => id),
  usual: PLACES.filter(({ usual }) => usual).map(({ id }) => id),
};

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
