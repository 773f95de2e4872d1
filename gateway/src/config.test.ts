import { readConfig } from '@rookery/wire/config.ts';
import { describe, expect, test } from 'vitest';
import { gatewayConfigSchema } from './config.ts';

const read = (env: Record<string, string>) => readConfig(gatewayConfigSchema, env);

describe('the configuration of a gateway', () => {
  test('trusts no proxy, tells no schema and has limits, unless told otherwise', () => {
    const config = read({});
    expect(config).toMatchObject({ ROOKERY_TRUSTED_PROXIES: [], ROOKERY_INTROSPECTION: false });
    expect(config.ROOKERY_MAX_QUERY_DEPTH).toBe(12);
    expect(config.ROOKERY_REQUESTS_PER_VIEWER).toBeGreaterThan(0);
  });

  test('takes proxies by name, address and range', () => {
    const proxies = 'loopback, 10.0.0.0/8,fd00::/8 , 192.0.2.1';
    expect(read({ ROOKERY_TRUSTED_PROXIES: proxies }).ROOKERY_TRUSTED_PROXIES).toEqual([
      'loopback',
      '10.0.0.0/8',
      'fd00::/8',
      '192.0.2.1',
    ]);
  });

  test.each([
    ['ROOKERY_TRUSTED_PROXIES', 'everybody'],
    ['ROOKERY_TRUSTED_PROXIES', '10.0.0.0/99'],
    ['ROOKERY_MAX_QUERY_DEPTH', '0'],
    ['ROOKERY_MAX_QUERY_COST', 'much'],
    ['ROOKERY_REQUESTS_PER_ADDRESS', '-1'],
    ['ROOKERY_PUBLIC_URL', 'javascript:alert(1)'],
  ])('does not start with %s=%s, and says so', (variable, value) => {
    expect(() => read({ [variable]: value })).toThrow(variable);
  });
});
