/** What somebody typed into the box above the keys. */
export type Search =
  | { kind: 'none' }
  | { kind: 'notes'; text: string }
  | { kind: 'mask'; text: string }
  /** A whole key: it is looked up by POST, and never written into an address. */
  | { kind: 'key'; text: string };

// As the address refuses them, see lib/urlState.
const WHOLE_KEY = /^((sk-|AIza|key-|xai-|gsk_)[^\s*…]{12,}|[^\s*…]{32,})$/;
const MASK = /\*|…|\.{3}/;

/** `…a91f`, `sk-f****a91f` or `*a91f` are a key's ends; all else is a part of a note. */
export function searchOf(typed: string): Search {
  const text = typed.trim();
  if (text === '') return { kind: 'none' };
  if (MASK.test(text)) return { kind: 'mask', text };
  return WHOLE_KEY.test(text) ? { kind: 'key', text } : { kind: 'notes', text };
}
