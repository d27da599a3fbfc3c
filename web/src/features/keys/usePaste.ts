import { onScopeDispose, ref, shallowRef } from 'vue';

import type { Preview } from './paste';
import type { Answer, Read, Take } from './paste.worker';

type Asked = Omit<Read, 'id'> | Omit<Take, 'id'>;

/** A paste as the worker knows it: read there, and given back as a file. */
export function usePaste(channel: string, most: number) {
  const worker = new Worker(new URL('./paste.worker.ts', import.meta.url), { type: 'module' });
  const preview = shallowRef<Preview | null>(null);
  const isReading = ref(false);
  const failed = ref(false);
  let last = 0;
  let taken: ((file: Blob | null) => void) | null = null;

  worker.onmessage = ({ data }: MessageEvent<Answer>) => {
    if (data.kind === 'take') {
      taken?.(data.file);
      taken = null;
    } else if (data.id === last) {
      isReading.value = false;
      failed.value = data.kind === 'failed';
      preview.value = data.kind === 'read' ? data.preview : null;
    }
  };
  worker.onerror = () => {
    isReading.value = false;
    failed.value = true;
    taken?.(null);
  };
  onScopeDispose(() => worker.terminate());

  function ask(what: Asked): void {
    last += 1;
    worker.postMessage({ ...what, id: last });
  }

  return {
    preview,
    isReading,
    /** It can't be read: a file that is no text, or more than the browser can hold. */
    failed,
    read(source: string | Blob): void {
      isReading.value = true;
      ask({ kind: 'read', source, channel, most });
    },
    take(withSuspicious: boolean): Promise<Blob | null> {
      return new Promise((resolve) => {
        taken = resolve;
        ask({ kind: 'take', withSuspicious });
      });
    },
    forget(): void {
      last += 1;
      preview.value = null;
      isReading.value = false;
      failed.value = false;
    },
  };
}
