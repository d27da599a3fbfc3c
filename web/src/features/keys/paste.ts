import { doubtOf, parseKeys, type ParsedKeys } from '@/lib/parse-keys';

/** What is told of a paste before anything is sent: no more of it than is needed. */
export interface Preview extends Omit<ParsedKeys, 'keys'> {
  found: number;
  /** The keys themselves, when they are few enough to ask the node about. */
  keys: string[] | null;
}

export function preview(text: string, channel: string, most: number): Preview {
  const { keys, ...parsed } = parseKeys(text, channel);
  return { ...parsed, found: keys.length, keys: keys.length <= most ? keys : null };
}

/**
 * The text without what looks suspicious. Each key keeps its line, so that a receipt still
 * names the lines of the paste; elements of a JSON list become lines.
 */
export function withoutSuspicious(text: string, channel: string): string {
  const isGood = (key: string): boolean => doubtOf(key, channel) === null;
  if (text.trimStart().startsWith('[')) {
    try {
      const found: unknown = JSON.parse(text);
      if (Array.isArray(found)) {
        return found
          .map((key) => (isGood(String(key).trim()) ? String(key).trim() : ''))
          .join('\n');
      }
    } catch {
      // Then it is words, as it is for the preview.
    }
  }
  return text
    .split('\n')
    .map((line) =>
      line
        .split(/[\s,;]+/)
        .filter((key) => key !== '' && isGood(key))
        .join(' '),
    )
    .join('\n');
}
