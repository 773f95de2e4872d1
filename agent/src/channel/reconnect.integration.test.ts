import { silentLogger } from '@rookery/wire/log.ts';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { newDirectory, newTestControl, type TestControl } from '../agent.fixture.ts';
import { readAgentConfig } from '../config.ts';
import { CredentialService } from '../enrolment/credential.service.ts';
import { CredentialStore } from '../enrolment/credential.store.ts';
import { HostKey } from '../enrolment/host-key.ts';
import { RequestSequence } from '../enrolment/request-sequence.ts';
import { measureHost } from '../host/host.ts';
import { ControlChannel } from './control-channel.ts';
import { ReconnectSpread } from './reconnect.ts';

const AGENTS = 150;
const SPREAD_MS = 8_000;
const DEADLINE_MS = 30_000;

/** Some hundred real channels to one control plane. */
describe('a fleet whose channels break at once', () => {
  let control: TestControl;
  let directory: Awaited<ReturnType<typeof newDirectory>>;
  let credentials: CredentialService;
  let channels: ControlChannel[];

  beforeEach(async () => {
    control = await newTestControl();
    control.reconnectSpreadMs = SPREAD_MS;
    control.nextHeartbeatMs = 60_000;
    directory = await newDirectory();
    const now = Date.now();
    const store = new CredentialStore({
      credentials: join(directory.path, 'credentials.json'),
      credentialStatus: join(directory.path, 'credential-status.json'),
    });
    credentials = new CredentialService({
      initial: {
        controlUrl: control.url,
        hostId: 'host-1',
        hostName: 'nest',
        accessToken: 'access-1',
        issuedAt: now,
        accessTokenExpiresAt: now + 3_600_000,
        refreshToken: 'refresh-1',
        refreshTokenExpiresAt: now + 7_200_000,
        controlKeys: [],
      },
      initialStatus: await store.loadStatus(),
      registrant: {
        key: await HostKey.openOrCreate(join(directory.path, 'host-key.json')),
        sequence: await RequestSequence.open(join(directory.path, 'request-sequence')),
        bootId: 'boot-1',
        machineId: null,
        specs: () => Promise.reject(new Error('nobody registers here')),
      },
      store,
      retryCapMs: 1_000,
      spareToken: undefined,
      log: silentLogger(),
    });
    const problem = { problem: 'none' };
    const measured = await measureHost(directory.path, problem, readAgentConfig({}, directory.path));
    channels = Array.from(
      { length: AGENTS },
      () =>
        new ControlChannel({
          credentials,
          measure: async () => measured,
          inventory: () => ({ epoch: 1, bootId: 'boot', digest: '', sandboxes: [] }),
          instance: 'agent',
          onAck: () => {},
          exceedEpoch: () => false,
          spread: new ReconnectSpread(),
          log: silentLogger(),
        }),
    );
    await vi.waitFor(() => expect(control.heard.heartbeats).toHaveLength(AGENTS), DEADLINE_MS);
  });
  afterEach(async () => {
    await Promise.all(channels.map((channel) => channel[Symbol.asyncDispose]()));
    await credentials[Symbol.asyncDispose]();
    await control[Symbol.asyncDispose]();
    await directory[Symbol.asyncDispose]();
  });

  it.each([
    ['cut without a word', () => control.cutChannels()],
    ['closed for a restart', () => control.closeChannels(1012)],
  ])(
    'comes back spread over the time that control has asked for when they are %s',
    async (_how, breakAll) => {
      const brokenAt = performance.now();
      control.channelsOpenedAt.length = 0;
      breakAll();
      await vi.waitFor(() => expect(control.channelsOpenedAt).toHaveLength(AGENTS), DEADLINE_MS);
      const after = control.channelsOpenedAt.map((at) => at - brokenAt);
      const tenths = Array.from(
        { length: 10 },
        (_, tenth) => after.filter((ms) => Math.floor((ms / SPREAD_MS) * 10) === tenth).length,
      );
      // Fifteen are expected in each; a wave would have most of them in one, and a busy machine has two or three in one.
      expect(Math.max(...tenths)).toBeLessThan(AGENTS * 0.6);
      // A slow machine is late, and never early.
      expect(after.filter((ms) => ms > SPREAD_MS / 2).length).toBeGreaterThan(AGENTS / 4);
      // All of them beat at once when they are back, and are not asked for again before their time.
      await vi.waitFor(() => expect(control.heard.heartbeats).toHaveLength(2 * AGENTS), DEADLINE_MS);
    },
    90_000,
  );
});
