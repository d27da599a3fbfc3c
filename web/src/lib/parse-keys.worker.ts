import { parseKeys } from './parse-keys';

/** A page's question; answers carry its number, since a newer paste makes older ones void. */
export interface Question {
  id: number;
  text: string;
  channel: string;
}

self.onmessage = ({ data: { id, text, channel } }: MessageEvent<Question>) => {
  self.postMessage({ id, parsed: parseKeys(text, channel) });
};
