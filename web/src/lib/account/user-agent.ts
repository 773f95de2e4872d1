/** In this order: Edge and Opera say Chrome too, Chrome says Safari too. */
const BROWSERS: readonly [RegExp, string][] = [
  [/\bEdg(?:e|A|iOS)?\/[\d.]+/, 'Edge'],
  [/\bOPR\/[\d.]+/, 'Opera'],
  [/\b(?:Firefox|FxiOS)\/[\d.]+/, 'Firefox'],
  [/\b(?:Headless)?(?:Chrome|CriOS)\/[\d.]+/, 'Chrome'],
  [/\bVersion\/[\d.]+.*Safari\//, 'Safari'],
];

const SYSTEMS: readonly [RegExp, string][] = [
  [/\biPhone\b/, 'iPhone'],
  [/\biPad\b/, 'iPad'],
  [/\bAndroid\b/, 'Android'],
  [/\bWindows\b/, 'Windows'],
  [/\bMac OS X\b|\bMacintosh\b/, 'macOS'],
  [/\bCrOS\b/, 'ChromeOS'],
  [/\bLinux\b/, 'Linux'],
];

const PHONES = new Set(['iPhone', 'iPad', 'Android']);

export interface Device {
  /** "Firefox on macOS", or the program's own first word: "curl/8.1". */
  readonly label: string;
  readonly kind: 'computer' | 'phone' | 'program' | 'unknown';
}

/** What a person recognises a sign-in by. A user agent is whatever its sender likes, so this is a hint and no proof. */
export function deviceOf(userAgent: string | null | undefined): Device {
  if (!userAgent) return { label: 'Unknown device', kind: 'unknown' };
  const browser = BROWSERS.find(([pattern]) => pattern.test(userAgent))?.[1];
  const system = SYSTEMS.find(([pattern]) => pattern.test(userAgent))?.[1];
  if (!browser) return { label: userAgent.split(' ', 1)[0] ?? userAgent, kind: 'program' };
  return {
    label: system ? `${browser} on ${system}` : browser,
    kind: system && PHONES.has(system) ? 'phone' : 'computer',
  };
}
