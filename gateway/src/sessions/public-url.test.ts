import { describe, expect, test } from 'vitest';
import { localPath, publicOrigin, type PublicUrlSettings } from './public-url.ts';

describe('a way back', () => {
  test.each(['/', '/hosts', '/hosts/x?tab=events#top', '/a//b', '/%2F%2Fevil.example', '/.well-known'])(
    'may be %s',
    (path) => {
      expect(localPath(path)).toBe(path);
    },
  );

  test.each([
    '//evil.example',
    '/\\evil.example',
    '\\\\evil.example',
    '/\t/evil.example',
    '/\n/evil.example',
    '\t//evil.example',
    '/.//evil.example',
    '/x/..//evil.example',
    '/.\\\\evil.example',
    '/%2e//evil.example',
    'https://evil.example',
    'javascript:alert(1)',
    'evil.example',
    '//user@evil.example/',
    '///evil.example',
    '//[',
    '',
    null,
    undefined,
  ])('is home instead of %j', (path) => {
    expect(localPath(path)).toBe('/');
  });

  test('never leads to another origin, whatever is in front of a host name', () => {
    const parts = ['/', '\\', '.', '..', '\t', '\n', '@', ':', '?', '#', '%2f', '%5c', ' '];
    for (const a of parts)
      for (const b of parts)
        for (const c of parts)
          for (const start of ['', '/']) {
            const { origin } = new URL(localPath(`${start}${a}${b}${c}evil.example`), 'https://ours.example');
            expect([a, b, c, origin]).toEqual([a, b, c, 'https://ours.example']);
          }
  });
});

describe('the origin of the gateway', () => {
  const settings: PublicUrlSettings = {
    publicUrl: undefined,
    allowedOrigins: ['https://rookery.example.com'],
    host: '10.0.0.7',
    port: 4000,
    secure: false,
  };
  const of = (host: string | undefined, more: Partial<PublicUrlSettings> = {}) =>
    publicOrigin({ ...settings, ...more }, { headers: host === undefined ? {} : { host } });

  test('is what it was told, whatever a browser says', () => {
    expect(of('evil.example', { publicUrl: 'https://rookery.example.com/' })).toBe('https://rookery.example.com');
  });

  test.each([
    ['localhost:4000', 'http://localhost:4000'],
    ['127.0.0.1:4000', 'http://127.0.0.1:4000'],
    ['[::1]:4000', 'http://[::1]:4000'],
    ['10.0.0.7:4000', 'http://10.0.0.7:4000'],
    ['rookery.example.com', 'https://rookery.example.com'],
  ])('is that of its own name %s', (host, origin) => {
    expect(of(host)).toBe(origin);
  });

  test('is https where cookies are', () => {
    expect(of('localhost:4000', { secure: true })).toBe('https://localhost:4000');
  });

  test.each(['evil.example', 'localhost:4001', 'localhost', 'localhost:4000.evil.example', undefined])(
    'is not %s, which anybody could have written',
    (host) => {
      expect(of(host)).toBeUndefined();
    },
  );
});
