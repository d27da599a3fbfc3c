/**
 * The live streams of all tabs of this browser. Over HTTP/1.1 it opens six connections to a
 * host: streams that took them all would leave none for what the tabs ask.
 */
const MOST = 3;

interface Word {
  id: string;
  isOpen: boolean;
}

const own = `${Date.now()} ${Math.random()}`;
/** Other tabs whose streams are open, and younger than this tab's. */
const younger = new Set<string>();
let channel: BroadcastChannel | null = null;

/**
 * Tell the other tabs that this one has opened a stream.
 *
 * @param crowded - called when so many others have opened one since that this one must go.
 */
export function opened(crowded: () => void): void {
  if (typeof BroadcastChannel === 'undefined') return;
  if (channel === null) {
    channel = new BroadcastChannel('gptload.streams');
    window.addEventListener('pagehide', closed);
  }
  younger.clear();
  channel.onmessage = ({ data }: MessageEvent<Word>) => {
    if (data.isOpen) younger.add(data.id);
    else younger.delete(data.id);
    if (younger.size >= MOST) crowded();
  };
  tell(true);
}

/** Tell them that it is closed. */
export function closed(): void {
  if (channel === null) return;
  channel.onmessage = null;
  tell(false);
}

function tell(isOpen: boolean): void {
  channel?.postMessage({ id: own, isOpen } satisfies Word);
}
