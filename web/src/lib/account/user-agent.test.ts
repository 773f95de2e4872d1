import { describe, expect, it } from 'vitest';
import { deviceOf } from './user-agent.ts';

describe('the device of a sign-in', () => {
  it.each([
    [
      'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4 Safari/605.1.15',
      { label: 'Safari on macOS', kind: 'computer' },
    ],
    [
      'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/141.0.0.0 Safari/537.36',
      { label: 'Chrome on Linux', kind: 'computer' },
    ],
    [
      'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36 Edg/141.0.0.0',
      { label: 'Edge on Windows', kind: 'computer' },
    ],
    [
      'Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Mobile Safari/537.36',
      { label: 'Chrome on Android', kind: 'phone' },
    ],
    [
      'Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4 Mobile/15E148 Safari/604.1',
      { label: 'Safari on iPhone', kind: 'phone' },
    ],
    [
      'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0',
      { label: 'Firefox on Linux', kind: 'computer' },
    ],
    ['curl/8.5.0', { label: 'curl/8.5.0', kind: 'program' }],
    ['', { label: 'Unknown device', kind: 'unknown' }],
    [null, { label: 'Unknown device', kind: 'unknown' }],
  ] as const)('%s', (userAgent, device) => expect(deviceOf(userAgent)).toEqual(device));
});
