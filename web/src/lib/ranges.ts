/** Ranges of time: what the address says, and which moments that means. Pure: `now` is given. */

export const PRESETS = ['15m', '1h', '6h', '24h', '7d', '30d', 'today', 'yesterday'] as const;
export type Preset = (typeof PRESETS)[number];
export const COMPARISONS = ['off', 'previous', 'day', 'week'] as const;
export type Comparison = (typeof COMPARISONS)[number];
export const DEFAULT_PRESET: Preset = '24h';
export const DEFAULT_COMPARISON: Comparison = 'previous';

/** A preset stays relative when it is shared; fixed bounds don't move. Epoch milliseconds. */
export type Range = { preset: Preset } | { from: number; to: number };

export interface Moments {
  from: number;
  to: number;
}

const LENGTH_MS: Partial<Record<Preset, number>> = {
  '15m': 900_000,
  '1h': 3_600_000,
  '6h': 21_600_000,
  '24h': 86_400_000,
  '7d': 604_800_000,
  '30d': 2_592_000_000,
};

export function isPreset(range: Range): range is { preset: Preset } {
  return 'preset' in range;
}

/** The moments that a range means now. Days begin when they begin in `zone`. */
export function moments(range: Range, now: number, zone: string): Moments {
  if (!isPreset(range)) return { from: range.from, to: range.to };
  const length = LENGTH_MS[range.preset];
  if (length !== undefined) return { from: now - length, to: now };
  const today = startOfDay(now, zone);
  if (range.preset === 'today') return { from: today, to: now };
  // An hour before midnight is yesterday, whatever clocks did that day.
  return { from: startOfDay(today - 3_600_000, zone), to: today };
}

/** When the day of a moment began in a zone. */
export function startOfDay(at: number, zone: string): number {
  const { year, month, day } = civil(at, zone);
  return fromCivil(year, month, day, 0, 0, zone);
}

interface Civil {
  year: number;
  month: number;
  day: number;
  hour: number;
  minute: number;
  second: number;
}

const parts = new Map<string, Intl.DateTimeFormat>();

/** What clock and calendar of a zone show. */
export function civil(at: number, zone: string): Civil {
  let format = parts.get(zone);
  if (!format) {
    format = new Intl.DateTimeFormat('en-US', {
      timeZone: zone,
      hourCycle: 'h23',
      year: 'numeric',
      month: 'numeric',
      day: 'numeric',
      hour: 'numeric',
      minute: 'numeric',
      second: 'numeric',
    });
    parts.set(zone, format);
  }
  const found = Object.fromEntries(format.formatToParts(at).map((p) => [p.type, Number(p.value)]));
  return found as unknown as Civil;
}

/** The moment at which clock and calendar of a zone show this; the first, where two do. */
export function fromCivil(
  year: number,
  month: number,
  day: number,
  hour: number,
  minute: number,
  zone: string,
): number {
  const wanted = Date.UTC(year, month - 1, day, hour, minute);
  let at = wanted;
  // The offset differs by the moment, and the moment by the offset: twice is enough.
  for (let round = 0; round < 2; round += 1) {
    const shown = civil(at, zone);
    const utc = Date.UTC(
      shown.year,
      shown.month - 1,
      shown.day,
      shown.hour,
      shown.minute,
      shown.second,
    );
    at += wanted - utc;
  }
  return at;
}

export function isZone(zone: string): boolean {
  try {
    new Intl.DateTimeFormat('en-US', { timeZone: zone });
    return true;
  } catch {
    return false;
  }
}

export function ownZone(): string {
  return Intl.DateTimeFormat().resolvedOptions().timeZone || 'UTC';
}

const UNIT_MS: Record<string, number> = {
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
};

/**
 * A moment as people type it: `now`, `now-6h`, `2026-11-20 09:00`, `2026-11-20`, epoch ms.
 * Null: not understood.
 */
export function parseMoment(text: string, now: number, zone: string): number | null {
  const typed = text.trim().toLowerCase();
  if (typed === 'now') return now;
  const back = /^now\s*-\s*(\d{1,5})\s*([mhdw])$/.exec(typed);
  if (back) return now - Number(back[1]) * UNIT_MS[back[2]!]!;
  if (/^\d{12,14}$/.test(typed)) return Number(typed);
  const date = /^(\d{4})-(\d{1,2})-(\d{1,2})(?:[t\s]+(\d{1,2}):(\d{2}))?$/.exec(typed);
  if (!date) return null;
  const [year, month, day, hour, minute] = date.slice(1).map((part) => Number(part ?? 0));
  if (month! < 1 || month! > 12 || day! < 1 || day! > 31 || hour! > 23 || minute! > 59) return null;
  return fromCivil(year!, month!, day!, hour!, minute!, zone);
}

/** `2026-11-20 09:00`: what `parseMoment` reads, for fields. */
export function typeable(at: number, zone: string): string {
  const { year, month, day, hour, minute } = civil(at, zone);
  const two = (value: number): string => String(value).padStart(2, '0');
  return `${year}-${two(month)}-${two(day)} ${two(hour)}:${two(minute)}`;
}

/** The range one length earlier (-1) or later (1), never past now. */
export function shifted(range: Range, by: -1 | 1, now: number, zone: string): Range {
  const { from, to } = moments(range, now, zone);
  const length = to - from;
  if (by === 1 && to + length > now) return { from: now - length, to: now };
  return { from: from + by * length, to: to + by * length };
}

const STEPS_S = [60, 300, 900, 1800, 3600, 10_800, 21_600, 43_200, 86_400];

/** The step, in seconds, that cuts a range into about so many points. */
export function stepFor({ from, to }: Moments, wanted = 96): number {
  const ideal = (to - from) / 1000 / wanted;
  return STEPS_S.find((step) => step >= ideal * 0.75) ?? 86_400;
}
