import { execFile } from 'node:child_process';
import { cp, mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import pg from 'pg';
import { expect, vi } from 'vitest';
import { Api } from '../support/api.ts';
import { ExecStream } from '../support/exec-stream.ts';
import { FaultProxy } from '../support/fault-proxy.ts';
import { Fleet } from '../support/fleet.ts';
import { cleanEnvironment, ROOT, type TestProcess } from '../support/process.ts';
import { ADMIN_EMAIL } from '../support/rookery.ts';
import { ADMIN_PASSWORD, SplitRookery } from '../support/split.ts';
import type { Story } from '../support/story.ts';

const AGENT = join(ROOT, 'agent/bin/rookery-agent.mjs');
const DEADLINE_MS = 40_000;

/** Life of access tokens in these stories, in seconds; they are renewed after about two thirds of it. */
const TOKEN_SECONDS = 2;

/** What of a state directory says who a host is. */
const IDENTITY_FILES = ['host-key.json', 'credentials.json', 'request-sequence'];

export const until = <T>(condition: () => T | Promise<T>): Promise<T> =>
  vi.waitFor(condition, { timeout: DEADLINE_MS, interval: 50 });

export interface HostView {
  readonly id: string;
  readonly name: string;
  readonly status: string;
  readonly schedulable: boolean;
  readonly lastHeartbeatAt: string | null;
  readonly conditions: { readonly type: string }[];
  readonly credentials: {
    readonly state: string;
    readonly quarantineCause: string | null;
    readonly holders: { readonly address: string; readonly bootId: string; readonly machineId: string }[];
  };
}

/** Control and gateway as processes, a proxy in front of control, and machines that reach it only through that. */
export class Site {
  readonly split: SplitRookery;
  readonly proxy: FaultProxy;
  readonly fleet: Fleet;
  readonly #api: Api;
  readonly #story: Story;

  private constructor(story: Story, split: SplitRookery, proxy: FaultProxy, api: Api) {
    this.#story = story;
    this.split = split;
    this.proxy = proxy;
    this.#api = api;
    this.fleet = new Fleet(api);
  }

  /** @param settings of control, beside or instead of what these stories have. */
  static async start(story: Story, settings: Readonly<Record<string, string>> = {}): Promise<Site> {
    const split = await SplitRookery.start(story, {
      ROOKERY_HOST_TOKEN_SECONDS: String(TOKEN_SECONDS),
      ROOKERY_HEARTBEAT_MS: '300',
      ROOKERY_UNREACHABLE_AFTER_MS: '4000',
      ...settings,
    });
    const proxy = story.use(await FaultProxy.start(split.agentPort));
    return new Site(story, split, proxy, story.use(await Api.signIn(split.url, ADMIN_EMAIL, ADMIN_PASSWORD)));
  }

  /** A machine whose agent keeps its state in `stateDir`; by default in an empty directory. */
  async machine(name: string): Promise<Machine> {
    const directory = await this.#story.directory(name);
    return new Machine(this.#story, this.proxy.url, directory, this.#story.stateDir(join(directory, 'state')));
  }

  /** A host that is online on a machine. */
  async hostOn(machine: Machine, name: string, settings: Readonly<Record<string, string>> = {}): Promise<HostView> {
    const { host, registrationToken } = await this.fleet.createByocHost(name);
    machine.join(registrationToken, settings);
    await this.untilOnline(host.id);
    return this.host(host.id);
  }

  async host(id: string): Promise<HostView> {
    const { host } = await this.#api.request<{ host: HostView }>(
      `query ($id: ID!) { host(id: $id) { id name status schedulable lastHeartbeatAt conditions { type }
        credentials { state quarantineCause holders { address bootId machineId } } } }`,
      { id },
    );
    return host;
  }

  /** Waits until the host takes sandboxes and has been heard after this call. */
  async untilOnline(id: string): Promise<void> {
    const before = (await until(() => this.host(id))).lastHeartbeatAt ?? '';
    await until(async () => {
      const host = await this.host(id);
      expect(host).toMatchObject({ status: 'ONLINE', schedulable: true });
      expect((host.lastHeartbeatAt ?? '') > before).toBe(true);
    });
  }

  stream(sandboxId: string, script: string): ExecStream {
    return new ExecStream(this.#api, sandboxId, script);
  }

  async regenerateToken(hostId: string, options: object = {}): Promise<string> {
    const { regenerateHostToken } = await this.#api.request<{
      regenerateHostToken: { __typename: string; registrationToken: string };
    }>(
      `mutation ($input: RegenerateHostTokenInput!) { regenerateHostToken(input: $input) {
        __typename ... on HostTokenRegenerated { registrationToken } ... on UserError { code message } } }`,
      { input: { hostId, ...options } },
    );
    expect(regenerateHostToken).toMatchObject({ __typename: 'HostTokenRegenerated' });
    return regenerateHostToken.registrationToken;
  }

  /** What was written down about the credentials of a host, in order. */
  async events(hostId: string): Promise<string[]> {
    const rows = await this.sql<{ type: string }>('select type from events where subject_id = $1 order by id', [
      rowId(hostId),
    ]);
    const comesAndGoes = /^host\.(tunnel|online|unreachable|described|reserved|released)/;
    return rows.map(({ type }) => type).filter((type) => !comesAndGoes.test(type));
  }

  /** Every status that a sandbox has had. */
  async statusesOf(sandboxId: string): Promise<string[]> {
    const rows = await this.sql<{ status: string }>(
      "select distinct state->>'status' as status from events where subject_id = $1",
      [rowId(sandboxId)],
    );
    return rows.map(({ status }) => status);
  }

  async sql<Row>(text: string, values: unknown[] = []): Promise<Row[]> {
    const client = await this.connection();
    try {
      return (await client.query(text, values)).rows as Row[];
    } finally {
      await client.end();
    }
  }

  async connection(): Promise<pg.Client> {
    const client = new pg.Client({ connectionString: this.split.databaseUrl });
    await client.connect();
    return client;
  }

  /** Kills control as running out of memory would. */
  async killControl(): Promise<void> {
    this.split.control.signal('SIGKILL');
    await this.split.control.exited;
  }

  async startControl(): Promise<void> {
    this.split.startControl();
    await this.split.untilReady();
  }
}

interface Saved {
  readonly hostId: string;
  readonly accessToken: string;
  readonly refreshToken: string;
}

/** A machine: a state directory, and the agent's process on it. */
export class Machine {
  readonly stateDir: string;
  readonly #story: Story;
  readonly #url: string;
  readonly #directory: string;
  #agent: TestProcess | undefined;

  constructor(story: Story, url: string, directory: string, stateDir: string) {
    this.#story = story;
    this.#url = url;
    this.#directory = directory;
    this.stateDir = stateDir;
  }

  get agent(): TestProcess {
    if (!this.#agent) throw new Error('no agent was started on this machine');
    return this.#agent;
  }

  join(token: string, settings: Readonly<Record<string, string>> = {}): TestProcess {
    return this.#start(['join', this.#url, token], settings);
  }

  run(settings: Readonly<Record<string, string>> = {}): TestProcess {
    return this.#start(['run'], settings);
  }

  async kill(): Promise<void> {
    this.agent.signal('SIGKILL');
    await this.agent.exited;
  }

  async saved(): Promise<Saved> {
    return JSON.parse(await readFile(join(this.stateDir, 'credentials.json'), 'utf8')) as Saved;
  }

  /** What `rookery-agent status` says. */
  async status(): Promise<Record<string, unknown>> {
    const { stdout } = await promisify(execFile)(
      process.execPath,
      [AGENT, 'status', '--json', '--state-dir', this.stateDir],
      { cwd: this.#directory, env: cleanEnvironment({}) },
    );
    return JSON.parse(stdout) as Record<string, unknown>;
  }

  /** Waits until the agent has renewed its credentials this often. */
  async untilRenewed(times = 1): Promise<void> {
    for (let done = 0; done < times; done++) {
      const { refreshToken } = await this.saved();
      await until(async () => expect((await this.saved()).refreshToken).not.toBe(refreshToken));
    }
  }

  /** Copies what says who this host is to another machine. */
  async copyIdentityTo(other: Machine): Promise<void> {
    await mkdir(other.stateDir, { recursive: true });
    for (const file of IDENTITY_FILES) await cp(join(this.stateDir, file), join(other.stateDir, file));
  }

  /** Copies everything that an agent remembers, as a copy of the disk has it, but for the containers themselves. */
  async copyAllTo(other: Machine): Promise<void> {
    await this.copyIdentityTo(other);
    for (const name of ['epoch', 'sandboxes'])
      await cp(join(this.stateDir, name), join(other.stateDir, name), { recursive: true });
  }

  #start(args: string[], settings: Readonly<Record<string, string>>): TestProcess {
    this.#agent = this.#story.start({
      label: `agent ${this.#directory}`,
      command: [process.execPath, AGENT, ...args, '--state-dir', this.stateDir],
      cwd: this.#directory,
      env: cleanEnvironment({ ROOKERY_AGENT_RETRY_CAP_MS: '300', ...settings }),
    });
    return this.#agent;
  }
}

/** The row's id in a global one. */
const rowId = (globalId: string): string =>
  /[0-9a-f]{8}-[0-9a-f-]{27}/.exec(Buffer.from(globalId, 'base64').toString())?.[0] ?? globalId;
