import { AGENT_IDENTITY_HEADER, AgentEndpoint, TUNNEL_SUBPROTOCOL } from '@rookery/wire/endpoints.ts';
import { sha256 } from '@rookery/wire/secrets.ts';
import { buildSchema, type FormattedExecutionResult } from 'graphql';
import { makeServer } from 'graphql-ws';
import { CompactSign, exportJWK, generateKeyPair, type CryptoKey } from 'jose';
import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { WebSocket } from 'ws';
import type { ObservedStatus } from '@rookery/control/fleet/sandboxes/sandbox.state.ts';
import type {
  ExecInput,
  ExecSubscription,
  SandboxSpecInput,
} from '@rookery/control/fleet/tunnels/generated/agent-operations.ts';
import { mapIterator } from '@rookery/wire/push-iterator.ts';
import { publicError } from '@rookery/wire/graphql-operation.ts';
import { silentLogger } from '@rookery/wire/log.ts';

const SPECS = {
  hostname: 'scripted',
  arch: 'x86_64',
  os: 'Test 1',
  kernel: '6.1',
  cpuCores: 8,
  memoryMb: 16_384,
  diskGb: 100,
  agentVersion: '0.0.0-test',
  bootId: 'boot-1',
  machineId: null as string | null,
  runtime: { name: 'runc', version: '1.1.5' },
  conditions: [],
};

/** A sandbox as an agent speaks of it. */
export interface ObservedSandbox {
  readonly id: string;
  readonly generation: number;
  readonly status: ObservedStatus;
  readonly statusReason: string | null;
  readonly startedAt: string | null;
  readonly lastActiveAt: string | null;
  readonly autoPaused?: boolean;
  readonly errorCause?: 'HOST' | 'SANDBOX';
}

/** What a scripted command says. */
export type ScriptedExecEvent = ExecSubscription['exec'];

export const output = (data: string | Buffer, kind: 'STDOUT' | 'STDERR' = 'STDOUT'): ScriptedExecEvent => ({
  kind,
  data: Buffer.from(data).toString('base64'),
  exitCode: null,
  signal: null,
  timedOut: null,
  truncated: null,
});

export const exit = (exitCode: number | null, rest: Partial<ScriptedExecEvent> = {}): ScriptedExecEvent => ({
  kind: 'EXIT',
  data: null,
  exitCode,
  signal: null,
  timedOut: false,
  truncated: false,
  ...rest,
});

/** The key with which a machine proves itself. */
export interface MachineKey {
  readonly publicKey: string;
  /** @param sequence by default one more than the last that {@link follow} was told. */
  prove(purpose: 'register' | 'refresh' | 'leave', token: string, sequence?: number): Promise<string>;
  follow(lastSequence: number): void;
}

export async function newMachineKey(): Promise<MachineKey> {
  const { publicKey, privateKey } = await generateKeyPair('EdDSA', { crv: 'Ed25519', extractable: true });
  let last = 0;
  return {
    publicKey: (await exportJWK(publicKey)).x as string,
    prove: (purpose, token, sequence = last + 1) => prove(privateKey, purpose, token, sequence),
    follow: (lastSequence) => (last = lastSequence),
  };
}

/** Whoever is out of turn comes again at once, as often as others are faster. */
async function inTurn(key: MachineKey, call: () => ReturnType<typeof callChannel>): ReturnType<typeof callChannel> {
  for (;;) {
    const answer = await call();
    const { reason, lastSequence } = answer.result.errors?.[0]?.extensions ?? {};
    if (reason !== 'REQUEST_OUT_OF_TURN') return answer;
    key.follow(lastSequence as number);
  }
}

async function prove(key: CryptoKey, purpose: string, token: string, seq: number): Promise<string> {
  return new CompactSign(new TextEncoder().encode(JSON.stringify({ purpose, token_sha256: sha256(token), seq })))
    .setProtectedHeader({ alg: 'EdDSA' })
    .sign(key);
}

/** One operation of the agent channel over HTTP. */
export async function callChannel(
  agentUrl: string,
  query: string,
  variables: object,
  accessToken?: string,
): Promise<{ status: number; result: FormattedExecutionResult<Record<string, never>> }> {
  const response = await fetch(`${agentUrl}${AgentEndpoint.channel}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...(accessToken ? { authorization: `Bearer ${accessToken}` } : {}) },
    body: JSON.stringify({ query, variables }),
  });
  return {
    status: response.status,
    result: (await response.json()) as FormattedExecutionResult<Record<string, never>>,
  };
}

const CREDENTIALS =
  'hostId hostName accessToken accessTokenExpiresInSeconds refreshToken refreshTokenExpiresInSeconds controlKeys { kid publicKey }';

export interface Credentials {
  readonly hostId: string;
  readonly accessToken: string;
  readonly refreshToken: string;
  readonly controlKeys: readonly { readonly kid: string; readonly publicKey: string }[];
}

export async function register(
  agentUrl: string,
  token: string,
  key: MachineKey,
  specs: Partial<typeof SPECS> = {},
  hostId?: string,
) {
  const rest = { token, publicKey: key.publicKey, hostId, specs: { ...SPECS, ...specs } };
  return inTurn(key, async () =>
    callChannel(agentUrl, `mutation ($input: RegisterHostInput!) { registerHost(input: $input) { ${CREDENTIALS} } }`, {
      input: { ...rest, proof: await key.prove('register', token) },
    }),
  );
}

/** @param machine.sequence is sent as it is; without one, the agent does as agents do when it is not its turn. */
export async function refresh(
  agentUrl: string,
  refreshToken: string,
  key: MachineKey,
  machine: { bootId?: string; machineId?: string | null; sequence?: number } = {},
) {
  const { sequence, bootId = SPECS.bootId, machineId = SPECS.machineId } = machine;
  const call = async () =>
    callChannel(
      agentUrl,
      `mutation ($input: RefreshHostCredentialsInput!) { refreshHostCredentials(input: $input) { ${CREDENTIALS} } }`,
      {
        input: { refreshToken, proof: await key.prove('refresh', refreshToken, sequence), bootId, machineId },
      },
    );
  return sequence === undefined ? inTurn(key, call) : call();
}

export async function heartbeat(
  agentUrl: string,
  accessToken: string,
  specs: Partial<typeof SPECS> = {},
  inventoryDigest = '',
  instance = SPECS.hostname,
) {
  const input = {
    instance,
    specs: { ...SPECS, ...specs },
    load1: 0.5,
    memoryUsedMb: 100,
    diskUsedMb: 100,
    inventoryDigest,
    sandboxCount: 0,
  };
  return callChannel(
    agentUrl,
    'mutation ($input: HeartbeatInput!) { heartbeat(input: $input) { nextHeartbeatMs wantInventory } }',
    { input },
    accessToken,
  );
}

/**
 * An agent whose sandboxes are what the test says. It speaks the real protocol over real sockets, and
 * so can do what a well-behaved agent would not: forget a sandbox, invent one, answer late.
 */
export class ScriptedAgent implements AsyncDisposable {
  readonly sandboxes = new Map<string, ObservedSandbox>();
  readonly applied: { spec: SandboxSpecInput; generation: number }[] = [];
  readonly removed: { id: string; generation: number }[] = [];
  /** What applying does; by default the sandbox becomes what is wanted. */
  onApply: (spec: SandboxSpecInput, generation: number) => ObservedSandbox | Promise<ObservedSandbox> = (
    spec,
    generation,
  ) => ({ ...running(spec.id, generation), status: spec.desiredState });
  /** What running a command does; by default there is no such program. */
  onExec: (input: ExecInput) => AsyncIterator<ScriptedExecEvent> = () => [exit(127)].values() as never;
  readonly acknowledged: { streamId: string; consumedBytes: number }[] = [];
  epoch = 1;
  /** As long as it is one process; a test that restarts the agent names another. */
  instance = randomUUID() as string;
  /** Whether it says that commands have begun. */
  begins = true;
  /** Whether it answers control at all. */
  isSilent = false;
  readonly key: MachineKey;
  readonly #agentUrl: string;
  readonly #credentials: Credentials;
  #socket: WebSocket | undefined;

  private constructor(agentUrl: string, credentials: Credentials, key: MachineKey) {
    this.key = key;
    this.#agentUrl = agentUrl;
    this.#credentials = credentials;
  }

  /** Registers a machine, beats once and dials the tunnel. */
  static async join(agentUrl: string, token: string): Promise<ScriptedAgent> {
    const key = await newMachineKey();
    const { result } = await register(agentUrl, token, key);
    const credentials = (result.data as { registerHost: Credentials } | undefined)?.registerHost;
    if (!credentials) throw new Error(JSON.stringify(result.errors));
    const agent = new ScriptedAgent(agentUrl, credentials, key);
    await agent.beat();
    await agent.dial();
    return agent;
  }

  get hostId(): string {
    return this.#credentials.hostId;
  }

  get accessToken(): string {
    return this.#credentials.accessToken;
  }

  get refreshToken(): string {
    return this.#credentials.refreshToken;
  }

  beat(digest?: string) {
    return heartbeat(this.#agentUrl, this.accessToken, {}, digest, this.instance);
  }

  /** Everything that this agent has on its disk, in another process; it dials when it is told to. */
  copy(): ScriptedAgent {
    return new ScriptedAgent(this.#agentUrl, this.#credentials, this.key);
  }

  /** As with {@link join}, on the machine that this agent is on: another process, with its sandboxes. */
  async rejoin(token: string, agentUrl = this.#agentUrl): Promise<ScriptedAgent> {
    const { result } = await register(agentUrl, token, this.key, {}, this.hostId);
    const credentials = (result.data as { registerHost: Credentials } | undefined)?.registerHost;
    if (!credentials) throw new Error(JSON.stringify(result.errors));
    const agent = new ScriptedAgent(this.#agentUrl, credentials, this.key);
    for (const [id, sandbox] of this.sandboxes) agent.sandboxes.set(id, sandbox);
    return agent;
  }

  /** Resolves when the socket is open; control's first question comes after that. */
  async dial(agentUrl = this.#agentUrl): Promise<WebSocket> {
    const schema = buildSchema(await readFile(new URL('../../agent/schema.graphql', import.meta.url), 'utf8'));
    const server = makeServer({
      schema,
      roots: {
        query: { inventory: () => (this.isSilent ? new Promise(() => {}) : this.#inventory()) },
        mutation: {
          welcome: () => true,
          applySandbox: async ({ spec, generation }: { spec: SandboxSpecInput; generation: number }) => {
            this.applied.push({ spec, generation });
            const observed = await this.onApply(spec, generation);
            this.sandboxes.set(spec.id, observed);
            return { ...observed, epoch: ++this.epoch };
          },
          removeSandbox: ({ id, generation }: { id: string; generation: number }) => {
            this.removed.push({ id, generation });
            return { id, existed: this.sandboxes.delete(id) };
          },
          acknowledgeStream: (acknowledgement: { streamId: string; consumedBytes: number }) => {
            this.acknowledged.push(acknowledgement);
            return true;
          },
        },
        subscription: {
          exec: ({ input }: { input: ExecInput }) =>
            mapIterator(this.begins ? begun(this.onExec(input)) : this.onExec(input), (event) => ({ exec: event })),
        },
      },
      onError: (_socket, _id, _payload, errors) => errors.map((error) => publicError(error, silentLogger())),
    });
    const socket = new WebSocket(`${agentUrl.replace(/^http/, 'ws')}${AgentEndpoint.tunnel}`, TUNNEL_SUBPROTOCOL, {
      headers: {
        authorization: `Bearer ${this.accessToken}`,
        [AGENT_IDENTITY_HEADER]: `instance=${this.instance}&boot=${SPECS.bootId}`,
      },
    });
    const closed = server.opened(
      {
        protocol: 'graphql-transport-ws',
        send: (data) =>
          new Promise((resolve, reject) => {
            if (socket.readyState !== WebSocket.OPEN) return resolve();
            socket.send(data, (error) => (error ? reject(error) : resolve()));
          }),
        close: (code, reason) => socket.close(code, reason),
        // A socket that breaks under an answer is what tests do to it.
        onMessage: (take) => socket.on('message', (data) => void take(String(data)).catch(() => {})),
      },
      undefined,
    );
    socket.on('close', (code, reason) => void closed(code, String(reason)));
    await new Promise<void>((resolve, reject) => socket.once('open', resolve).once('error', reject));
    // What breaks later shows in `close`.
    socket.on('error', () => {});
    this.#socket = socket;
    return socket;
  }

  /** The code with which the tunnel that it dialled last is closed. */
  async closed(): Promise<number> {
    const socket = this.#socket as WebSocket;
    return new Promise((resolve) => socket.once('close', resolve));
  }

  /** Breaks the tunnel without a word. */
  hangUp(): void {
    this.#socket?.terminate();
  }

  /** Tells control about everything (`full`) or about some. */
  async report(
    full: boolean,
    sandboxes: readonly ObservedSandbox[] = [...this.sandboxes.values()],
    epoch = ++this.epoch,
  ) {
    return callChannel(
      this.#agentUrl,
      'mutation ($input: ReportSandboxesInput!) { reportSandboxes(input: $input) { epoch } }',
      { input: { instance: this.instance, epoch, full, sandboxes } },
      this.accessToken,
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.hangUp();
  }

  #inventory() {
    const epoch = ++this.epoch;
    const sandboxes = [...this.sandboxes.values()].map((sandbox) => ({ ...sandbox, epoch }));
    return { epoch, instance: this.instance, bootId: SPECS.bootId, digest: '', sandboxes };
  }
}

/** A command that says that it has begun before anything else, unless it fails at once. */
function begun(events: AsyncIterator<ScriptedExecEvent>): AsyncIterator<ScriptedExecEvent> {
  let first: Promise<IteratorResult<ScriptedExecEvent>> | undefined;
  let said = false;
  return {
    async next() {
      if (said) {
        const step = first ?? events.next();
        first = undefined;
        return step;
      }
      said = true;
      first = events.next();
      await Promise.race([first, new Promise((resolve) => setImmediate(resolve))]);
      return { done: false, value: { ...exit(null), kind: 'STARTED', timedOut: null, truncated: null } };
    },
    async return() {
      await events.return?.();
      return { done: true, value: undefined };
    },
  };
}

export const running = (id: string, generation: number): ObservedSandbox => ({
  id,
  generation,
  status: 'RUNNING',
  statusReason: null,
  startedAt: new Date().toISOString(),
  lastActiveAt: null,
});
