/** What the keyboard asks of a grid: where to go, what to choose, what to do. */
export type GridCommand =
  | { kind: 'move'; to: number; extend: boolean }
  | { kind: 'toggle' }
  | { kind: 'all' }
  | { kind: 'open' }
  | { kind: 'leave' }
  | { kind: 'action'; key: string };

interface Place {
  /** The focused row. */
  row: number;
  rows: number;
  /** Rows that fit in the window. */
  page: number;
}

const STEPS: Record<string, (place: Place) => number> = {
  ArrowDown: ({ row }) => row + 1,
  ArrowUp: ({ row }) => row - 1,
  j: ({ row }) => row + 1,
  k: ({ row }) => row - 1,
  PageDown: ({ row, page }) => row + page,
  PageUp: ({ row, page }) => row - page,
  Home: () => 0,
  End: ({ rows }) => rows - 1,
};

type Pressed = Pick<KeyboardEvent, 'key' | 'shiftKey' | 'ctrlKey' | 'metaKey' | 'altKey'>;

/** The command of a key press; null: it isn't the grid's. Pure, so that it can be tested. */
export function gridCommand(pressed: Pressed, place: Place): GridCommand | null {
  const { key, shiftKey, ctrlKey, metaKey, altKey } = pressed;
  if (altKey) return null;
  if (ctrlKey || metaKey) return key.toLowerCase() === 'a' ? { kind: 'all' } : null;
  const step = STEPS[key];
  if (step) {
    const to = Math.max(0, Math.min(place.rows - 1, step(place)));
    return { kind: 'move', to, extend: shiftKey };
  }
  if (key === ' ') return { kind: 'toggle' };
  if (key === 'Enter') return { kind: 'open' };
  if (key === 'Escape') return { kind: 'leave' };
  if (key === 'Delete' || /^[a-z]$/.test(key)) return { kind: 'action', key };
  return null;
}
