import type { IncomingMessage } from 'node:http';
import { describe, expect, test } from 'vitest';
import { Callers, refuseInternalHeaders } from './callers.ts';

const request = (headers: Record<string, string>, remoteAddress: string | undefined = '203.0.113.9') =>
  ({ headers, socket: { remoteAddress } }) as unknown as IncomingMessage;

const callers = (trustedProxies: string[] = []) => new Callers({ cookieName: 'rookery_session', trustedProxies });

describe('the address of a caller', () => {
  test('is that of its socket, whatever it says of itself', () => {
    expect(callers().of(request({ 'x-forwarded-for': '198.51.100.1' })).address).toBe('203.0.113.9');
  });

  test.each<[string, string[], string, string, string]>([
    ['one of a trusted proxy is what the proxy saw', ['10.0.0.0/8'], '10.1.2.3', '198.51.100.1', '198.51.100.1'],
    ['of several proxies, trusted as loopback', ['loopback'], '127.0.0.1', '198.51.100.1, 127.0.0.2', '198.51.100.1'],
    ['what a client had written before is not believed', ['loopback'], '::1', '1.1.1.1, 198.51.100.1', '198.51.100.1'],
    ['a proxy that is not trusted is the caller', ['10.0.0.0/8'], '203.0.113.9', '198.51.100.1', '203.0.113.9'],
    ['what is no address is not taken for one', ['loopback'], '127.0.0.1', 'evil', '127.0.0.1'],
    ['IPv4 in IPv6 clothes is IPv4', [], '::ffff:203.0.113.9', '', '203.0.113.9'],
    ['an IPv4 proxy on an IPv6 listener is trusted', ['10.0.0.0/8'], '::ffff:10.1.2.3', '198.51.100.1', '198.51.100.1'],
  ])('%s', (_what, trusted, socket, forwarded, address) => {
    expect(callers(trusted).of(request({ 'x-forwarded-for': forwarded }, socket)).address).toBe(address);
  });

  test('is unknown when the socket has gone', () => {
    const gone = { headers: {}, socket: {} } as unknown as IncomingMessage;
    expect(callers(['loopback']).of(gone).address).toBeUndefined();
  });
});

describe('credentials', () => {
  test.each<[string, Record<string, string>, object]>([
    ['a bearer token', { authorization: 'Bearer abc.def' }, { token: 'abc.def' }],
    ['an API key of its own header', { 'x-api-key': 'rk_123' }, { token: 'rk_123' }],
    ['a bearer token before an API key', { authorization: 'Bearer a', 'x-api-key': 'b' }, { token: 'a' }],
    ['a cookie', { cookie: 'other=1; rookery_session=rks_1' }, { session: 'rks_1' }],
    ['a token before a cookie', { authorization: 'Bearer a', cookie: 'rookery_session=rks_1' }, { token: 'a' }],
    [
      'a cookie behind somebody else’s Basic',
      { authorization: 'Basic eA==', cookie: 'rookery_session=s' },
      { session: 's' },
    ],
    ['nothing', {}, {}],
  ])('are %s', (_what, headers, expected) => {
    const { token, session } = callers().of(request(headers));
    expect({ ...(token ? { token } : {}), ...(session ? { session } : {}) }).toEqual(expected);
  });

  test.each<[string, unknown, string | undefined]>([
    ['authorization', { authorization: 'Bearer t' }, 't'],
    ['x-api-key', { 'x-api-key': 'k' }, 'k'],
    ['apiKey', { apiKey: 'k' }, 'k'],
    ['nonsense', { authorization: 7, apiKey: { a: 1 } }, undefined],
    ['nothing', undefined, undefined],
  ])('of a WebSocket may come in its first message, as %s', (_what, params, token) => {
    expect(callers().ofSocket(request({}), params).token).toBe(token);
  });

  test('of a WebSocket are else those of its upgrade', () => {
    expect(callers().ofSocket(request({ 'x-api-key': 'k' }), {}).token).toBe('k');
  });

  test('of the first message stand alone: no cookie goes along', () => {
    const caller = callers().ofSocket(request({ cookie: 'rookery_session=s' }), { apiKey: 'k' });
    expect(caller).toMatchObject({ token: 'k' });
    expect(caller.session).toBeUndefined();
  });
});

test('a user agent is passed on, within bounds', () => {
  expect(callers().of(request({ 'user-agent': 'x'.repeat(1_000) })).userAgent).toHaveLength(255);
});

test.each(['x-rookery-gateway-secret', 'x-rookery-caller'])('the header %s is refused, in the same words', (header) => {
  expect(() => refuseInternalHeaders(request({ [header]: 'anything' }))).toThrow(
    'Headers that begin with x-rookery- are not for clients.',
  );
  expect(() => refuseInternalHeaders(request({ 'x-requested-with': 'x' }))).not.toThrow();
});
