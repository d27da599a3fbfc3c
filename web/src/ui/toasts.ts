import { shallowReactive } from 'vue';

export interface Toast {
  id: number;
  kind: 'plain' | 'danger';
  text: string;
  detail?: string;
  undo?: () => unknown;
  /** Null: it stays until it is closed. */
  seconds: number | null;
}

export const toasts = shallowReactive<Toast[]>([]);

const PLAIN_S = 5;
const UNDO_S = 10;
const MOST = 4;
let last = 0;

/** Say what can't be seen on the page. With `undo`, an Undo bar; failures stay until closed. */
export function toast(said: {
  text: string;
  detail?: string;
  kind?: 'danger';
  undo?: () => unknown;
  seconds?: number;
}): () => void {
  const { undo, kind = 'plain' } = said;
  const usual = kind === 'danger' ? null : undo ? UNDO_S : PLAIN_S;
  last += 1;
  const id = last;
  toasts.push({ ...said, id, kind, undo, seconds: said.seconds ?? usual });
  if (toasts.length > MOST) toasts.shift();
  return () => drop(id);
}

export function drop(id: number): void {
  const index = toasts.findIndex((one) => one.id === id);
  if (index !== -1) toasts.splice(index, 1);
}
