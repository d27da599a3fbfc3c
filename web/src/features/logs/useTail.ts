import { effectScope, onScopeDispose, shallowRef, watch } from 'vue';

import { useLive } from '@/composables/useLive';

import type { Row } from './rows';
import { EMPTY, heard, released, reread, type Tail, withAttempts } from './tail';

interface News {
  items: Row[];
  /** Attempts of this second that the node left out. */
  skipped: number;
}

/**
 * The live end of the log, for as long as `isOn`.
 *
 * @param wanted - whether a row is one that the filters look for.
 * @param isHeld - whether somebody reads: then nothing moves, and what comes is counted.
 * @param again - asks the log itself for what came before the stream began; its newest rows, or
 *   null when it could not be read.
 */
export function useTail(
  isOn: () => boolean,
  wanted: (row: Row) => boolean,
  isHeld: () => boolean,
  again: () => Promise<readonly Row[] | null>,
) {
  const tail = shallowRef<Tail>(EMPTY);
  const { state, began } = useLive();
  let scope = effectScope();
  let hasMissed = false;

  function catchUp(): void {
    hasMissed = isHeld();
    if (!hasMissed) void closeGap();
  }

  async function closeGap(): Promise<void> {
    const before = tail.value.rows;
    const stored = await again();
    if (stored) tail.value = reread(tail.value, before, stored);
  }

  function arrived(data: unknown): void {
    if (hasMissed) catchUp();
    const { items, skipped } = data as News;
    const came = withAttempts(items).filter(wanted);
    tail.value = heard(tail.value, came, skipped, isHeld());
  }

  watch(
    isOn,
    (on, before) => {
      scope.stop();
      scope = effectScope();
      tail.value = EMPTY;
      hasMissed = false;
      if (on) scope.run(() => useLive({ logs: arrived }));
      // A page that opens with the tail reads the list anyway.
      if (on && before !== undefined) void again();
    },
    { immediate: true },
  );
  watch(began, () => {
    if (isOn()) catchUp();
  });
  onScopeDispose(() => scope.stop());

  return {
    tail,
    state,
    release: () => {
      tail.value = released(tail.value);
      if (hasMissed) void closeGap();
      hasMissed = false;
    },
    clear: () => {
      tail.value = EMPTY;
    },
  };
}
