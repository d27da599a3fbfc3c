import type { Key } from '@/api/shapes';

/** When a key is all back, epoch ms: the end of its rest, or of the last of its models'. */
export function backAt(row: Pick<Key, 'rest_until' | 'model_rests'>): number | null {
  const ends = [row.rest_until, ...Object.values(row.model_rests)].flatMap((end) =>
    end ? [Date.parse(end)] : [],
  );
  return ends.length ? Math.max(...ends) : null;
}
