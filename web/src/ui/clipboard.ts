/** Puts a text into the clipboard, over plain http too, where browsers have no clipboard API. */
export async function copy(text: string): Promise<boolean> {
  if (window.isSecureContext && navigator.clipboard) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      // Refused: the old way may work.
    }
  }
  const area = document.createElement('textarea');
  area.value = text;
  area.readOnly = true;
  area.className = 'sr';
  // Within the dialog that has the focus: its trap would take it back from elsewhere.
  const place = document.activeElement?.closest('[role=dialog]') ?? document.body;
  const opener = document.activeElement as HTMLElement | null;
  place.append(area);
  area.select();
  try {
    return document.execCommand('copy');
  } finally {
    area.remove();
    opener?.focus();
  }
}
