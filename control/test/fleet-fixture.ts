import { expect, vi } from 'vitest';
import type { Control } from '@rookery/control/app.ts';
import type { ControlConfig } from '@rookery/control/config.ts';
import type { FleetDatabase, FleetTables, HostRow, SandboxRow } from '@rookery/control/fleet/tables.ts';
import type { Viewer } from '@rookery/control/kernel/viewer.ts';
import { newAdmin, startTestControl } from './harness.ts';
import { ScriptedAgent } from './scripted-agent.ts';

/** How long something may take that is expected to happen; the machine may be busy. */
const PATIENCE = { timeout: 15_000, interval: 20 };

/** A control process with a team, and hosts whose agents do as the test says. */
export class TestFleet implements AsyncDisposable {
  readonly admin: Viewer = newAdmin();
  readonly control: Control;
  readonly teamId: string;
  readonly #agents: ScriptedAgent[] = [];

  private constructor(control: Control, teamId: string) {
    this.control = control;
    this.teamId = teamId;
  }

  static async start(config: Partial<ControlConfig> = {}, databaseUrl?: string): Promise<TestFleet> {
    const control = await startTestControl(config, databaseUrl);
    const team = await control.database.as<{ Team: { id: string } }>().query.selectFrom('Team').select('id').execute();
    return new TestFleet(control, team[0]?.id ?? '');
  }

  get services() {
    return this.control.fleet.services;
  }

  get database(): FleetDatabase {
    return this.control.database.as<FleetTables>();
  }

  /** A host that is online and can be placed on. */
  async newAgent(): Promise<ScriptedAgent> {
    const { registrationToken } = await this.services.hosts.createLocal('scripted');
    const agent = await ScriptedAgent.join(this.control.agentUrl, registrationToken);
    this.#agents.push(agent);
    await this.hostBecomes(agent.hostId, { status: 'ONLINE', tunnelReplica: expect.any(String) as string });
    return agent;
  }

  async create(input: object = {}): Promise<SandboxRow> {
    const size = { vcpus: 0.1, memoryMb: 32, diskMb: 32 };
    return (await this.services.sandboxes.create(this.admin, { teamId: this.teamId, ...size, ...input })).sandbox;
  }

  async createRunning(input: object = {}): Promise<SandboxRow> {
    const { id } = await this.create(input);
    return this.becomes(id, { status: 'RUNNING' });
  }

  /** The row whatever became of it. */
  sandbox(id: string): Promise<SandboxRow> {
    return this.database.query.selectFrom('Sandbox').selectAll().where('id', '=', id).executeTakeFirstOrThrow();
  }

  host(id: string): Promise<HostRow> {
    return this.database.query.selectFrom('Host').selectAll().where('id', '=', id).executeTakeFirstOrThrow();
  }

  async becomes(id: string, expected: object): Promise<SandboxRow> {
    await vi.waitFor(async () => expect(await this.sandbox(id)).toMatchObject(expected), PATIENCE);
    return this.sandbox(id);
  }

  async hostBecomes(id: string, expected: object): Promise<HostRow> {
    await vi.waitFor(async () => expect(await this.host(id)).toMatchObject(expected), PATIENCE);
    return this.host(id);
  }

  /** The tunnel breaks without a word, and control has noticed. */
  async hangUp(agent: ScriptedAgent): Promise<void> {
    agent.hangUp();
    await this.hostBecomes(agent.hostId, { tunnelReplica: null });
  }

  async dial(agent: ScriptedAgent): Promise<void> {
    await agent.dial();
    await this.hostBecomes(agent.hostId, { tunnelReplica: expect.any(String) as string });
  }

  /** Types of the events of one host or sandbox, oldest first. */
  async events(subjectId: string): Promise<string[]> {
    const rows = await this.database.query
      .selectFrom('Event')
      .select('type')
      .where('subjectId', '=', subjectId)
      .orderBy('id')
      .execute();
    return rows.map(({ type }) => type);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const agent of this.#agents) await agent[Symbol.asyncDispose]();
    await this.control[Symbol.asyncDispose]();
  }
}

/** What a promise was rejected with. */
export async function rejection<T>(promise: Promise<T>): Promise<unknown> {
  return promise.then(
    (value) => {
      throw new Error(`was expected to be refused, and answered ${JSON.stringify(value)}`);
    },
    (reason: unknown) => reason,
  );
}
