import { startEmbeddedPostgres, type EmbeddedPostgres } from '@rookery/control/database/embedded-postgres.ts';
import { silentLogger } from '@rookery/wire/log.ts';
import { expect, vi } from 'vitest';
import { freePort } from './machine.ts';
import { cleanEnvironment, ROOT, type TestProcess } from './process.ts';
import type { Story } from './story.ts';

const READY_DEADLINE_MS = 30_000;

export const ADMIN_PASSWORD = 'correct horse battery';
export const GATEWAY_SECRET = 'what control and gateways share';

export interface ControlPorts {
  readonly agentPort: number;
  readonly subgraphPort: number;
}

export interface ControlReplica {
  readonly process: TestProcess;
  readonly agentUrl: string;
  readonly ports: ControlPorts;
}

/** Control and a gateway as processes of their own, with a PostgreSQL that is neither's. */
export class SplitRookery {
  readonly url: string;
  readonly subgraphUrl: string;
  /** Where agents reach control. */
  readonly agentPort: number;
  readonly databaseUrl: string;
  readonly gateway: TestProcess;
  readonly postgres: RestartablePostgres;
  /** Where agents reach the control process that the gateway asks. */
  readonly agentUrl: string;
  readonly #launchControl: (ports?: ControlPorts) => TestProcess;
  #control: TestProcess;

  private constructor(options: {
    url: string;
    subgraphUrl: string;
    agentUrl: string;
    agentPort: number;
    databaseUrl: string;
    gateway: TestProcess;
    launchControl: (ports?: ControlPorts) => TestProcess;
    control: TestProcess;
    postgres: RestartablePostgres;
  }) {
    this.agentUrl = options.agentUrl;
    this.url = options.url;
    this.subgraphUrl = options.subgraphUrl;
    this.agentPort = options.agentPort;
    this.databaseUrl = options.databaseUrl;
    this.gateway = options.gateway;
    this.#launchControl = options.launchControl;
    this.#control = options.control;
    this.postgres = options.postgres;
  }

  /** @param controlSettings environment of control beside what every story has. */
  static async start(story: Story, controlSettings: Readonly<Record<string, string>> = {}): Promise<SplitRookery> {
    const postgres = story.use(await RestartablePostgres.start(await story.directory('postgres')));
    const [port, agentPort, subgraphPort] = [await freePort(), await freePort(), await freePort()];
    const launch = (part: 'control' | 'gateway', settings: Record<string, string>): TestProcess =>
      story.start({
        label: part,
        command: [process.execPath, `${part}/src/main.ts`],
        cwd: ROOT,
        env: cleanEnvironment({ ROOKERY_GATEWAY_SECRET: GATEWAY_SECRET, ...settings }),
      });
    const launchControl = (ports: ControlPorts = { agentPort, subgraphPort }): TestProcess =>
      launch('control', {
        DATABASE_URL: postgres.url,
        ROOKERY_ADMIN_PASSWORD: ADMIN_PASSWORD,
        ROOKERY_AGENT_PORT: String(ports.agentPort),
        ROOKERY_SUBGRAPH_PORT: String(ports.subgraphPort),
        ...controlSettings,
      });
    const subgraphUrl = `http://127.0.0.1:${subgraphPort}`;
    const control = launchControl();
    const gateway = launch('gateway', { ROOKERY_PORT: String(port), ROOKERY_CONTROL_URL: subgraphUrl });
    const split = new SplitRookery({
      url: `http://127.0.0.1:${port}`,
      subgraphUrl,
      agentUrl: `http://127.0.0.1:${agentPort}`,
      agentPort,
      databaseUrl: postgres.url,
      gateway,
      launchControl,
      control,
      postgres,
    });
    await split.untilReady();
    return split;
  }

  get control(): TestProcess {
    return this.#control;
  }

  startControl(): void {
    this.#control = this.#launchControl();
  }

  /** Starts another control process on the same database, which the gateway does not know of. */
  async startReplica(ports?: ControlPorts): Promise<ControlReplica> {
    const chosen = ports ?? { agentPort: await freePort(), subgraphPort: await freePort() };
    const process = this.#launchControl(chosen);
    const agentUrl = `http://127.0.0.1:${chosen.agentPort}`;
    await vi.waitFor(async () => expect((await fetch(`${agentUrl}/readyz`)).status).toBe(200), {
      timeout: READY_DEADLINE_MS,
      interval: 50,
    });
    return { process, agentUrl, ports: chosen };
  }

  /** Waits until the gateway says that it reaches control. */
  async untilReady(): Promise<void> {
    await this.#untilReadyIs(200);
  }

  async untilUnready(): Promise<void> {
    await this.#untilReadyIs(503);
  }

  async #untilReadyIs(status: number): Promise<void> {
    await vi.waitFor(async () => expect((await fetch(`${this.url}/readyz`)).status).toBe(status), {
      timeout: READY_DEADLINE_MS,
      interval: 50,
    });
  }
}

/** A PostgreSQL that comes back at the same address. */
export class RestartablePostgres implements AsyncDisposable {
  readonly url: string;
  readonly #directory: string;
  #server: EmbeddedPostgres;

  private constructor(directory: string, server: EmbeddedPostgres) {
    this.#directory = directory;
    this.#server = server;
    this.url = server.url;
  }

  static async start(directory: string): Promise<RestartablePostgres> {
    return new RestartablePostgres(directory, await startEmbeddedPostgres(directory, silentLogger()));
  }

  /** As `pg_ctl stop -m fast`: sessions are cut, everything is written. */
  stop(): Promise<void> {
    return Promise.resolve(this.#server[Symbol.asyncDispose]());
  }

  async startAgain(): Promise<void> {
    const port = Number(new URL(this.url).port);
    this.#server = await startEmbeddedPostgres(this.#directory, silentLogger(), undefined, port);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}
