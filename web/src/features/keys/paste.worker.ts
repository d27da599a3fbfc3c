/** Holds a paste, so that the page never has to: it may be of 50 MB. */
import { preview, type Preview, withoutSuspicious } from './paste';

export interface Read {
  kind: 'read';
  /** Answers carry it: a newer paste makes older ones void. */
  id: number;
  source: string | Blob;
  channel: string;
  /** The keys come back when there are no more than that. */
  most: number;
}

/** Give the text back as a file to be sent. */
export interface Take {
  kind: 'take';
  id: number;
  withSuspicious: boolean;
}

export type Answer =
  | { kind: 'read'; id: number; preview: Preview }
  | { kind: 'take'; id: number; file: Blob }
  | { kind: 'failed'; id: number };

let held: { text: string; channel: string } = { text: '', channel: '' };

self.onmessage = async ({ data }: MessageEvent<Read | Take>) => {
  try {
    self.postMessage(data.kind === 'read' ? await read(data) : take(data));
  } catch {
    self.postMessage({ kind: 'failed', id: data.id } satisfies Answer);
  }
};

async function read({ id, source, channel, most }: Read): Promise<Answer> {
  const text = typeof source === 'string' ? source : textOf(await source.arrayBuffer());
  held = { text, channel };
  return { kind: 'read', id, preview: preview(text, channel, most) };
}

/** A file's text; one that is no text is refused rather than read as a thousand odd keys. */
function textOf(bytes: ArrayBuffer): string {
  const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  if (text.includes('\0')) throw new TypeError('no text');
  return text;
}

function take({ id, withSuspicious }: Take): Answer {
  const { text, channel } = held;
  const sent = withSuspicious ? text : withoutSuspicious(text, channel);
  return { kind: 'take', id, file: new Blob([sent], { type: 'text/plain' }) };
}
