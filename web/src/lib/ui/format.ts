const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** A span of time in its largest unit: "4 s", "12 min", "3 h", "9 d". Never negative: clocks differ a little. */
export function formatSpan(milliseconds: number): string {
  const span = Math.max(0, milliseconds);
  if (span < MINUTE) return `${Math.floor(span / SECOND)} s`;
  if (span < HOUR) return `${Math.floor(span / MINUTE)} min`;
  if (span < 2 * DAY) return `${Math.floor(span / HOUR)} h`;
  return `${Math.floor(span / DAY)} d`;
}

/** The time left, rounded up to its largest unit: what ends in 6 days and 23 hours ends in "7 d". */
export function formatLeft(milliseconds: number): string {
  const unit = milliseconds < MINUTE ? SECOND : milliseconds < HOUR ? MINUTE : milliseconds < 2 * DAY ? HOUR : DAY;
  return formatSpan(Math.ceil(milliseconds / unit) * unit);
}

/** A span that counts down to the second: "59:07". */
export function formatCountdown(milliseconds: number): string {
  const seconds = Math.max(0, Math.ceil(milliseconds / SECOND));
  const [h, m, s] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  const tail = `${String(m).padStart(2, '0')}:${String(s).padStart(2, '0')}`;
  return h > 0 ? `${h}:${tail}` : tail;
}

/** Sizes given in MiB: "512 MB", "1.5 GB", "2 TB". */
export function formatMb(mb: number): string {
  if (mb < 1024) return `${round(mb)} MB`;
  if (mb < 1024 * 1024) return `${round(mb / 1024)} GB`;
  return `${round(mb / 1024 / 1024)} TB`;
}

export function formatNumber(value: number): string {
  return new Intl.NumberFormat('en', { maximumFractionDigits: 2 }).format(value);
}

/** Local date and time, for titles and facts. */
export function formatDateTime(iso: string): string {
  return new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' }).format(new Date(iso));
}

/** Local date and time to the second, short enough for a column: "25 Nov, 14:03:07". */
export function formatMoment(iso: string): string {
  return new Intl.DateTimeFormat(undefined, {
    day: 'numeric',
    month: 'short',
    hour: '2-digit',
    minute: '2-digit',
    second: '2-digit',
    hourCycle: 'h23',
  }).format(new Date(iso));
}

/** Local date: "Nov 25, 2026". */
export function formatDate(iso: string): string {
  return new Intl.DateTimeFormat(undefined, { dateStyle: 'medium' }).format(new Date(iso));
}

/** Milliseconds a person can compare: "12 ms", "1.4 s". */
export function formatDuration(milliseconds: number): string {
  return milliseconds < 1_000 ? `${Math.round(milliseconds)} ms` : `${round(milliseconds / 1_000)} s`;
}

/** "1 sandbox", "2 sandboxes". */
export function plural(count: number, one: string, many = `${one}s`): string {
  return `${formatNumber(count)} ${count === 1 ? one : many}`;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
