import { vi, expect } from 'vitest';
import type { Api, EventStream } from './api.ts';

/** How long a fleet may take to settle after a restart, in ms. */
const SETTLE_DEADLINE_MS = 40_000;

export interface HostState {
  readonly id: string;
  readonly name: string;
  readonly kind: 'PLATFORM' | 'BYOC';
  readonly status: 'PENDING' | 'ONLINE' | 'UNREACHABLE';
  readonly schedulable: boolean;
  readonly teamName: string | null;
  readonly team: { readonly name: string } | null;
}

export interface SandboxState {
  readonly id: string;
  readonly name: string;
  readonly status: string;
  readonly statusReason: string | null;
  readonly host: { readonly name: string } | null;
}

export interface HostChange {
  readonly cursor: string;
  readonly kind: string;
  readonly hostId: string | null;
  readonly host: HostState | null;
}

export interface SandboxChange {
  readonly cursor: string;
  readonly kind: string;
  readonly sandboxId: string | null;
  readonly sandbox: (SandboxState & { readonly revision: number }) | null;
}

interface HasSandboxes {
  readonly __typename: 'HostHasSandboxes';
  readonly affectedSandboxes: { name: string }[];
  readonly previewDigest: string;
}

interface Deleted {
  readonly __typename: 'HostDeleted';
  readonly destroyedSandboxes: { name: string }[];
}

const HOST = 'id name kind status schedulable teamName team { name }';
const SANDBOX = 'id name status statusReason host { name }';
const USER_ERROR = '... on UserError { code message }';

/** The operations of the public API that stories need, with defaults for all that a story is not about. */
export class Fleet {
  readonly #api: Api;
  #teamId: Promise<string> | undefined;

  constructor(api: Api) {
    this.#api = api;
  }

  /** The team that the first start made. */
  teamId(): Promise<string> {
    this.#teamId ??= this.#api
      .request<{ viewer: { memberships: { team: { id: string } }[] } }>('{ viewer { memberships { team { id } } } }')
      .then(({ viewer }) => viewer.memberships[0]?.team.id ?? '');
    return this.#teamId;
  }

  async hosts(): Promise<HostState[]> {
    const { hosts } = await this.#api.request<{ hosts: { edges: { node: HostState }[] } }>(
      `{ hosts { edges { node { ${HOST} } } } }`,
    );
    return hosts.edges.map(({ node }) => node);
  }

  async sandboxes(): Promise<SandboxState[]> {
    const { sandboxes } = await this.#api.request<{ sandboxes: { edges: { node: SandboxState }[] } }>(
      `{ sandboxes { edges { node { ${SANDBOX} } } } }`,
    );
    return sandboxes.edges.map(({ node }) => node);
  }

  /** How many sandboxes there are, in one status or in all: those of a (large) page, and the total that the API counts. */
  async countSandboxes(status?: string): Promise<{ sandboxes: number; counted: number }> {
    const { sandboxes } = await this.#api.request<{ sandboxes: { totalCount: number; edges: object[] } }>(
      'query ($status: SandboxStatus) { sandboxes(first: 500, status: $status) { totalCount edges { cursor } } }',
      { status },
    );
    return { sandboxes: sandboxes.edges.length, counted: sandboxes.totalCount };
  }

  /** Waits until every host is online and takes sandboxes, and every sandbox is running. */
  async waitUntilWell(expected: { hosts: string[]; sandboxes: string[] }): Promise<void> {
    await vi.waitFor(
      async () => {
        const [hosts, sandboxes] = await Promise.all([this.hosts(), this.sandboxes()]);
        expect(hosts.map(({ name, status, schedulable }) => `${name} ${status} ${schedulable}`).sort()).toEqual(
          expected.hosts.map((name) => `${name} ONLINE true`).sort(),
        );
        expect(sandboxes.map(({ name, status }) => `${name} ${status}`).sort()).toEqual(
          expected.sandboxes.map((name) => `${name} RUNNING`).sort(),
        );
      },
      { timeout: SETTLE_DEADLINE_MS, interval: 100 },
    );
  }

  /** Where the event log is now: what a subscription after it hears is what happens from here on. */
  async cursor(): Promise<string> {
    const { hosts } = await this.#api.request<{ hosts: { eventCursor: string } }>(
      '{ hosts(first: 1) { eventCursor } }',
    );
    return hosts.eventCursor;
  }

  hostChanges(after: string): EventStream<HostChange> {
    return this.#api.subscribe(
      `subscription ($after: String) { hostChanged(after: $after) { cursor kind hostId host { ${HOST} } } }`,
      { after },
    );
  }

  sandboxChanges(after: string): EventStream<SandboxChange> {
    return this.#api.subscribe(
      `subscription ($after: String) { sandboxChanged(after: $after) { cursor kind sandboxId sandbox { revision ${SANDBOX} } } }`,
      { after },
    );
  }

  async createByocHost(name: string): Promise<{ host: HostState; joinCommand: string; registrationToken: string }> {
    const input = { name, kind: 'BYOC', teamId: await this.teamId() };
    const { createHost } = await this.#api.request<{
      createHost: { __typename: string; host: HostState; joinCommand: string; registrationToken: string };
    }>(
      `mutation ($input: CreateHostInput!) { createHost(input: $input) {
        __typename ... on HostCreated { host { ${HOST} } joinCommand registrationToken } ${USER_ERROR}
      } }`,
      { input },
    );
    return expectType(createHost, 'HostCreated');
  }

  async deleteHost(
    hostId: string,
    options: { force?: boolean; previewDigest?: string } = {},
  ): Promise<Deleted | HasSandboxes> {
    const { deleteHost } = await this.#api.request<{ deleteHost: Deleted | HasSandboxes }>(
      `mutation ($input: DeleteHostInput!) { deleteHost(input: $input) {
        __typename
        ... on HostDeleted { destroyedSandboxes { name } }
        ... on HostHasSandboxes { affectedSandboxes { name } previewDigest }
        ${USER_ERROR}
      } }`,
      { input: { hostId, ...options } },
    );
    return deleteHost;
  }

  /** A small sandbox; it is on its way to RUNNING. */
  async createSandbox(name: string, hostId?: string): Promise<SandboxState> {
    const input = { name, teamId: await this.teamId(), hostId, vcpus: 0.25, memoryMb: 128, diskMb: 64 };
    const { createSandbox } = await this.#api.request<{
      createSandbox: { __typename: string; sandbox: SandboxState };
    }>(
      `mutation ($input: CreateSandboxInput!) { createSandbox(input: $input) {
        __typename ... on SandboxCreated { sandbox { ${SANDBOX} } } ${USER_ERROR}
      } }`,
      { input },
    );
    return expectType(createSandbox, 'SandboxCreated').sandbox;
  }

  /** What a shell prints for a script. */
  async shell(sandboxId: string, script: string): Promise<string> {
    const { execInSandbox } = await this.#api.request<{
      execInSandbox: { __typename: string; exitCode: number; stdout: string; stderr: string };
    }>(
      `mutation ($input: ExecInSandboxInput!) { execInSandbox(input: $input) {
        __typename ... on ExecCompleted { exitCode stdout stderr } ${USER_ERROR}
      } }`,
      { input: { sandboxId, command: ['sh', '-c', script] } },
    );
    const { exitCode, stdout, stderr } = expectType(execInSandbox, 'ExecCompleted');
    if (exitCode !== 0) throw new Error(`"${script}" ended with ${exitCode}: ${stderr}`);
    return stdout;
  }

  /** Destroys a sandbox and waits until its host has confirmed. */
  async destroySandbox(sandboxId: string): Promise<void> {
    const { destroySandbox } = await this.#api.request<{ destroySandbox: { __typename: string } }>(
      `mutation ($input: DestroySandboxInput!) { destroySandbox(input: $input) { __typename ${USER_ERROR} } }`,
      { input: { sandboxId } },
    );
    expectType(destroySandbox, 'SandboxDestroyed');
    await vi.waitFor(
      async () => expect((await this.sandboxes()).map(({ id }) => id)).not.toContain(sandboxId),
      SETTLE_DEADLINE_MS,
    );
  }
}

function expectType<T extends { __typename: string }>(result: T, typename: string): T {
  if (result.__typename !== typename) throw new Error(`expected ${typename}: ${JSON.stringify(result)}`);
  return result;
}
