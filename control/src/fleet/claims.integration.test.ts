import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { expect, test, vi } from 'vitest';
import { createTestDatabase } from '../../test/harness.ts';
import { ClaimKind, Claims } from './claims.ts';

/** How soon PostgreSQL notices a silent process here, in ms; one that lives shows itself every second. */
const SESSION_TIMEOUT_MS = 4_000;

test('the claim of a process that was stopped (SIGSTOP) is taken from it; that of one that lives is not', async () => {
  const url = await createTestDatabase();
  const id = randomUUID();
  const path = new URL('../../test/stopped-claimant.ts', import.meta.url).pathname;
  const claimant = spawn(process.execPath, [path, url, id, String(SESSION_TIMEOUT_MS)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = once(claimant, 'exit');
  try {
    await once(claimant.stdout, 'data');
    await using claims = new Claims(url, SESSION_TIMEOUT_MS);
    const claim = () => claims.exclusively(ClaimKind.deletion, id, async () => 'mine');
    const claimedAt = performance.now();
    await vi.waitFor(
      async () => {
        expect(await claim()).toBeUndefined();
        expect(performance.now() - claimedAt).toBeGreaterThan(SESSION_TIMEOUT_MS + 1_000);
      },
      { timeout: 20_000, interval: 200 },
    );
    claimant.kill('SIGSTOP');
    await vi.waitFor(async () => expect(await claim()).toBe('mine'), { timeout: 20_000, interval: 200 });
  } finally {
    claimant.kill('SIGKILL');
    await exited;
  }
}, 60_000);
