/** How wide somebody made the columns of a list: kept in this browser, by the list's name. */
import { ref, type Ref, watch } from 'vue';

/** By column; those that nobody touched aren't in it. Pixels. */
export type Widths = Record<string, number>;

/** Between these a column stays readable, and in sight. */
const LEAST = 48;
const MOST = 900;
/** Of one press of a key. */
export const STEP = 16;

const known = new Map<string, Ref<Widths>>();

/** One and the same for whoever asks for this name. */
export function widthsOf(name: string): Ref<Widths> {
  const found = known.get(name);
  if (found) return found;
  const stored = `gptload.widths.${name}`;
  const widths = ref<Widths>(read(stored));
  watch(widths, (now) => {
    try {
      localStorage.setItem(stored, JSON.stringify(now));
    } catch {
      // Storage is off: it holds for this visit only.
    }
  });
  known.set(name, widths);
  return widths;
}

/** Make a column so wide, as far as that makes sense; with null, as it usually is. */
export function resized(widths: Widths, id: string, px: number | null): Widths {
  const { [id]: _, ...others } = widths;
  if (px === null) return others;
  return { ...others, [id]: Math.round(Math.min(MOST, Math.max(LEAST, px))) };
}

/** How wide it is drawn at this moment. */
export function drawnWidth(name: string, id: string): number {
  const head = `[data-widths="${CSS.escape(name)}"] [data-column="${CSS.escape(id)}"]`;
  return document.querySelector<HTMLElement>(head)?.offsetWidth ?? LEAST;
}

function read(stored: string): Widths {
  try {
    const found: unknown = JSON.parse(localStorage.getItem(stored) ?? '{}');
    if (typeof found !== 'object' || found === null) return {};
    const numbers = Object.entries(found).filter(
      (pair): pair is [string, number] => Number.isFinite(pair[1]) && Number(pair[1]) > 0,
    );
    return Object.fromEntries(numbers);
  } catch {
    return {};
  }
}
