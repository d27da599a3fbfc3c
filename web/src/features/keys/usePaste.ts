import { onScopeDispose, ref, shallowRef } from 'vue';

import type { Preview } from './paste';
import type { Answer, Read, Take } from './paste.worker';

/** As much as the server takes in one call (its `BODY_LIMIT`), the form around the file apart. */
export const MOST_BYTES = 128 * 1024 * 1024 - 1024;

type Asked = Omit<Read, 'id'> | Omit<Take, 'id'>;

/** A paste as the worker knows it: read there, and given back as a file. */
export function usePaste(channel: string, most: number) {
  const worker = new Worker(new URL('./paste.worker.ts', import.meta.url), { type: 'module' });
  const preview = shallowRef<Preview | null>(null);
  const isReading = ref(false);
  const failed = ref<'' | 'unreadable' | 'too_large'>('');
  let last = 0;
  let taken: ((file: Blob | null) => void) | null = null;

  worker.onmessage = ({ data }: MessageEvent<Answer>) => {
    if (data.kind === 'take') {
      taken?.(data.file);
      taken = null;
    } else if (data.id === last) {
      isReading.value = false;
      failed.value = data.kind === 'failed' ? 'unreadable' : '';
      preview.value = data.kind === 'read' ? data.preview : null;
    }
  };
  worker.onerror = () => {
    isReading.value = false;
    failed.value = 'unreadable';
    taken?.(null);
  };
  onScopeDispose(() => worker.terminate());

  function ask(what: Asked): void {
    last += 1;
    worker.postMessage({ ...what, id: last });
  }

  function forget(): void {
    last += 1;
    preview.value = null;
    isReading.value = false;
    failed.value = '';
  }

  return {
    preview,
    isReading,
    /**
     * Why it can't be imported: it is no text or more than the browser can hold, or more
     * than the server takes, and so not even read. Empty: it can.
     */
    failed,
    read(source: string | Blob): void {
      if ((typeof source === 'string' ? source.length : source.size) > MOST_BYTES) {
        forget();
        failed.value = 'too_large';
        return;
      }
      isReading.value = true;
      ask({ kind: 'read', source, channel, most });
    },
    take(withSuspicious: boolean): Promise<Blob | null> {
      return new Promise((resolve) => {
        taken = resolve;
        ask({ kind: 'take', withSuspicious });
      });
    },
    forget,
  };
}
