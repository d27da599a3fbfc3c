/** Numbers, times and money as people read them. All are pure; unknown is "—", none is "0". */

export const UNKNOWN = '—';

type Maybe = number | null | undefined;

function isKnown(value: Maybe): value is number {
  return typeof value === 'number' && Number.isFinite(value);
}

const formats = new Map<string, Intl.NumberFormat>();

function numbers(locale: string, options: Intl.NumberFormatOptions): Intl.NumberFormat {
  const id = locale + JSON.stringify(options);
  let found = formats.get(id);
  if (!found) formats.set(id, (found = new Intl.NumberFormat(locale, options)));
  return found;
}

/** 348,712: exact, with separators. */
export function whole(value: Maybe, locale = 'en-US'): string {
  return isKnown(value) ? numbers(locale, { maximumFractionDigits: 0 }).format(value) : UNKNOWN;
}

const STEPS: [number, string][] = [
  [1e9, 'B'],
  [1e6, 'M'],
  [1e3, 'k'],
];

/** Three figures and k, M or B: 42.1 k. Under a thousand as it is, under ten with a decimal. */
export function short(value: Maybe, locale = 'en-US'): string {
  if (!isKnown(value)) return UNKNOWN;
  const size = Math.abs(value);
  for (const [step, unit] of STEPS) {
    // 999,950 would round up to "1,000 k".
    if (size >= step * 0.9995) return `${figures(value / step, locale)} ${unit}`;
  }
  return Number.isInteger(value) ? whole(value, locale) : figures(value, locale);
}

function figures(value: number, locale: string): string {
  const options = { minimumSignificantDigits: 1, maximumSignificantDigits: 3 };
  return numbers(locale, options).format(value);
}

/** In tables: whole under 10,000, then short. */
export function cell(value: Maybe, locale = 'en-US'): string {
  return isKnown(value) && Math.abs(value) >= 10_000 ? short(value, locale) : whole(value, locale);
}

/** 99.62 %. What isn't all is never rounded up to 100 %, what isn't none never down to 0 %. */
export function percent(rate: Maybe, locale = 'en-US', decimals = 2): string {
  if (!isKnown(rate)) return UNKNOWN;
  const scale = 10 ** decimals;
  let scaled = Math.round(rate * 100 * scale);
  if (rate < 1 && scaled === 100 * scale) scaled -= 1;
  if (rate > 0 && scaled === 0) scaled = 1;
  const digits = rate === 1 || rate === 0 ? 0 : decimals;
  const options = { minimumFractionDigits: digits, maximumFractionDigits: digits };
  return `${numbers(locale, options).format(scaled / scale)} %`;
}

/** 5.6 ms, 840 ms, 1.84 s, 2 m 05 s, 3 h 04 m, 5 d 2 h. */
export function duration(ms: Maybe, locale = 'en-US'): string {
  if (!isKnown(ms)) return UNKNOWN;
  if (Math.abs(ms) < FEW_MS) return `${numbers(locale, TWO_FIGURES).format(ms)} ms`;
  if (ms < 999.5) return `${numbers(locale, { maximumFractionDigits: 0 }).format(ms)} ms`;
  if (ms < 59_995) {
    const options = { minimumFractionDigits: 2, maximumFractionDigits: 2 };
    return `${numbers(locale, options).format(ms / 1000)} s`;
  }
  const s = Math.round(ms / 1000);
  if (s < 3600) return `${Math.floor(s / 60)} m ${two(s % 60)} s`;
  if (s < 86_400) return `${Math.floor(s / 3600)} h ${two(Math.floor(s / 60) % 60)} m`;
  return `${Math.floor(s / 86_400)} d ${Math.floor(s / 3600) % 24} h`;
}

/** Under it, whole ms would hide by how much two of them differ. */
const FEW_MS = 9.5;
const TWO_FIGURES = { maximumSignificantDigits: 2 };

function two(value: number): string {
  return String(value).padStart(2, '0');
}

/** What a clock shows until then: 0:42, 12:05, 3:04:05; empty when it is past. */
export function countdown(seconds: number): string {
  if (seconds <= 0) return '';
  const s = Math.ceil(seconds);
  if (s < 3600) return `${Math.floor(s / 60)}:${two(s % 60)}`;
  if (s >= 172_800) return `${Math.floor(s / 86_400)} d`;
  return `${Math.floor(s / 3600)}:${two(Math.floor(s / 60) % 60)}:${two(s % 60)}`;
}

/** Under a day: "2 s", "5 min", "4 h"; else null: show the date. */
export function ago(ms: number, locale = 'en-US'): string | null {
  const s = Math.max(0, Math.round(ms / 1000));
  // The international signs of the units: every language has them.
  const count = (value: number): string => numbers(locale, {}).format(value);
  if (s < 60) return `${count(s)} s`;
  if (s < 3600) return `${count(Math.floor(s / 60))} min`;
  if (s < 86_400) return `${count(Math.floor(s / 3600))} h`;
  return null;
}

export interface Change {
  /** "▲ +12 %", "▼ −0.1 pt", "± 0". */
  text: string;
  direction: 'up' | 'down' | 'same';
}

/** How a figure moved, in percent of what it was. Null: nothing to compare with. */
export function change(now: Maybe, before: Maybe, locale = 'en-US'): Change | null {
  if (!isKnown(now) || !isKnown(before) || before === 0) return null;
  const moved = ((now - before) / before) * 100;
  return signed(moved, '%', Math.abs(moved) < 10 ? 1 : 0, locale);
}

/** How a rate (0 to 1) moved, in points. */
export function points(now: Maybe, before: Maybe, locale = 'en-US'): Change | null {
  if (!isKnown(now) || !isKnown(before)) return null;
  return signed((now - before) * 100, 'pt', 2, locale);
}

/** How a duration moved, in its own unit. */
export function moved(now: Maybe, before: Maybe, locale = 'en-US'): Change | null {
  if (!isKnown(now) || !isKnown(before)) return null;
  const by = now - before;
  if (Math.abs(by) < (Math.max(now, before) < FEW_MS ? 0.005 : 0.5))
    return { text: '± 0', direction: 'same' };
  return { text: `${arrow(by)}${duration(Math.abs(by), locale)}`, direction: towards(by) };
}

function signed(by: number, unit: string, decimals: number, locale: string): Change {
  const options = { minimumFractionDigits: 0, maximumFractionDigits: decimals };
  const text = numbers(locale, options).format(Math.abs(by));
  if (Number(by.toFixed(decimals)) === 0) return { text: '± 0', direction: 'same' };
  return { text: `${arrow(by)}${text} ${unit}`, direction: towards(by) };
}

function arrow(by: number): string {
  return by > 0 ? '▲ +' : '▼ −';
}

function towards(by: number): 'up' | 'down' {
  return by > 0 ? 'up' : 'down';
}

/** $ 41.20; four decimals under a cent. */
export function money(value: Maybe, currency = 'USD', locale = 'en-US'): string {
  if (!isKnown(value)) return UNKNOWN;
  const digits = value !== 0 && Math.abs(value) < 0.01 ? 4 : 2;
  const options = { style: 'currency', currency, minimumFractionDigits: digits } as const;
  return numbers(locale, { ...options, maximumFractionDigits: digits }).format(value);
}

/** 1.2 MB, by powers of 1000. */
export function bytes(value: Maybe, locale = 'en-US'): string {
  if (!isKnown(value)) return UNKNOWN;
  if (value < 1000) return `${value} B`;
  const power = Math.min(Math.floor(Math.log10(value) / 3), 4);
  return `${figures(value / 1000 ** power, locale)} ${['B', 'kB', 'MB', 'GB', 'TB'][power]}`;
}

export type ClockStyle = 'time' | 'minute' | 'day' | 'full';

const CLOCKS: Record<ClockStyle, Intl.DateTimeFormatOptions> = {
  time: { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' },
  minute: { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' },
  day: { month: 'short', day: 'numeric' },
  full: {
    year: 'numeric',
    month: '2-digit',
    day: '2-digit',
    hour: '2-digit',
    minute: '2-digit',
    second: '2-digit',
    hourCycle: 'h23',
    timeZoneName: 'short',
  },
};

const clocks = new Map<string, Intl.DateTimeFormat>();

/** A moment (epoch ms) on the clock of a zone. */
export function clock(at: number, style: ClockStyle, zone: string, locale = 'en-US'): string {
  const id = `${style} ${zone} ${locale}`;
  let format = clocks.get(id);
  if (!format) {
    format = new Intl.DateTimeFormat(locale, { ...CLOCKS[style], timeZone: zone });
    clocks.set(id, format);
  }
  return format.format(at);
}
