/** A group's proxy keys, which come and go as one text with commas. */
export function splitKeys(text: string): string[] {
  return text
    .split(',')
    .map((part) => part.trim())
    .filter(Boolean);
}
