import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { SUPPORTED_AGENT_VERSIONS, versionSkew } from './agent-version.ts';

const range = { oldest: [1, 2, 0], newest: [2, 3, 1] } as const;

test.each<[string | null, 'fine' | 'skewed' | 'incompatible']>([
  ['2.3.1', 'fine'],
  ['2.3.0', 'fine'],
  ['2.3.9', 'fine'],
  ['2.2.9', 'skewed'],
  ['1.2.0', 'skewed'],
  ['2.4.0', 'skewed'],
  ['1.1.9', 'incompatible'],
  ['0.9.0', 'incompatible'],
  ['3.0.0', 'incompatible'],
  ['2.3.1-dev', 'fine'],
  ['9999999.0.0', 'fine'],
  ['', 'fine'],
  [null, 'fine'],
])('an agent of version %s is %s', (version, expected) => {
  const skew = versionSkew(version, range);
  expect(skew ? (skew.isIncompatible ? 'incompatible' : 'skewed') : 'fine').toBe(expected);
  if (skew) expect(skew.message).toMatch(/upgrade the (agent|control plane)\.$/);
});

test('the agent of this repository is the newest that control knows', async () => {
  const { version } = JSON.parse(
    await readFile(new URL('../../../../agent/package.json', import.meta.url), 'utf8'),
  ) as { version: string };
  expect(SUPPORTED_AGENT_VERSIONS.newest.join('.')).toBe(version);
});
