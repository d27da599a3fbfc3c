/** Moments as people type them into the log. Pure. */
import { civil, fromCivil, parseMoment } from '@/lib/ranges';

const DAY_MS = 86_400_000;
const MINUTE_MS = 60_000;

/**
 * `12:04`, `12:04:31` (the last time that it was that late), or all that ranges understand.
 * A whole minute means up to its end, so that what happened in it is there. Null: not understood.
 */
export function moment(typed: string, now: number, zone: string): number | null {
  const time = /^(\d{1,2}):(\d{2})(?::(\d{2}))?$/.exec(typed.trim());
  if (!time) {
    const at = parseMoment(typed, now, zone);
    return at !== null && /\d:\d{2}$/.test(typed.trim()) ? at + MINUTE_MS - 1 : at;
  }
  const [hour, minute, second] = time.slice(1).map((part) => Number(part ?? 0));
  if (hour! > 23 || minute! > 59 || second! > 59) return null;
  const on = (day: number): number => {
    const { year, month, day: date } = civil(day, zone);
    return fromCivil(year, month, date, hour!, minute!, zone) + second! * 1000;
  };
  const today = on(now);
  const begin = today <= now ? today : on(now - DAY_MS);
  return begin + (time[3] ? 1000 : MINUTE_MS) - 1;
}
