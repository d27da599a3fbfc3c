/** A column of a DataGrid. Its cell is the slot `cell-<id>`; without one, the row's field. */
export interface Column {
  id: string;
  label: string;
  /** Its head says nothing that its cells don't: for screen readers only. */
  bare?: boolean;
  /** Pixels. Without it, the column grows (by `grow`). */
  width?: number;
  grow?: number;
  align?: 'start' | 'end';
  /** What sorting by it is called; without it, it can't be sorted by. */
  sort?: string;
  hint?: string;
  /** Not shown under 768 px. */
  wide?: boolean;
}
