import { StartupError } from '@rookery/wire/errors.ts';
import { sha256 } from '@rookery/wire/secrets.ts';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { inParallel, type PublicApi, type UserError } from './public-api.ts';

/** Requests to the API at a time: enough to be quick, few enough to leave room for people. */
const WIDTH = 16;

/** Says of a host that it is ours to delete. */
export const SIMULATED_PROVIDER = 'simulation';

/** As many hosts as are asked for at once when they are listed. */
const PAGE = 200;

/** How often a deletion is repeated when further sandboxes have come to its host meanwhile. */
const DELETE_ATTEMPTS = 10;

export const simulatedName = (index: number): string => `sim-${String(index).padStart(4, '0')}`;

/** Where a simulated host joins, and with what. */
export interface Invitation {
  readonly name: string;
  readonly agentUrl: string;
  readonly token: string;
}

/** A host of the simulation, as the API tells of it. */
export interface SimulatedHost {
  readonly id: string;
  readonly name: string;
  readonly status: string;
  readonly schedulable: boolean;
  readonly provider: string | null;
}

/** The part of the simulation that is in the control plane's books: hosts made, sandboxes made, everything deleted. */
export class SimulatedFleet {
  readonly #api: PublicApi;
  /** Team that the hosts belong to; undefined: platform hosts. */
  readonly #teamId: string | undefined;

  constructor(api: PublicApi, teamId: string | undefined) {
    this.#api = api;
    this.#teamId = teamId;
  }

  /** Makes a host, or answers with a new token for one that nobody has joined as yet. */
  async invite(name: string): Promise<Invitation> {
    const input = {
      name,
      kind: this.#teamId === undefined ? 'PLATFORM' : 'BYOC',
      teamId: this.#teamId,
      provider: SIMULATED_PROVIDER,
      labels: [{ key: 'simulated', value: 'true' }],
    };
    const { createHost } = await this.#api.run<{
      createHost: UserError & { joinCommand: string; registrationToken: string };
    }>(
      `mutation ($input: CreateHostInput!) { createHost(input: $input) {
        __typename ... on HostCreated { joinCommand registrationToken } ... on UserError { message }
      } }`,
      { input },
    );
    if (createHost.__typename === 'NameTaken') {
      throw new StartupError(
        `There is already a host ${name}, and its credentials are not in the state directory; start with --cleanup, or give the --state-dir of the earlier simulation.`,
      );
    }
    if (createHost.__typename !== 'HostCreated')
      throw new StartupError(`The host ${name} could not be made: ${createHost.message ?? createHost.__typename}`);
    const agentUrl = /\bjoin (\S+) \S+$/.exec(createHost.joinCommand)?.[1];
    if (!agentUrl)
      throw new StartupError(`The join command does not say where agents connect: ${createHost.joinCommand}`);
    return { name, agentUrl, token: createHost.registrationToken };
  }

  /** All hosts that a simulation has made. */
  async hosts(): Promise<SimulatedHost[]> {
    const found: SimulatedHost[] = [];
    for (let after: string | null = null; ;) {
      const { hosts }: { hosts: HostPage } = await this.#api.run<{ hosts: HostPage }>(
        `query ($first: Int, $after: String, $teamId: ID) { hosts(first: $first, after: $after, teamId: $teamId) {
          edges { node { id name status schedulable provider } } pageInfo { hasNextPage endCursor }
        } }`,
        { first: PAGE, after, teamId: this.#teamId },
      );
      found.push(...hosts.edges.map(({ node }) => node).filter(isSimulated));
      if (!hosts.pageInfo.hasNextPage) return found;
      after = hosts.pageInfo.endCursor;
    }
  }

  /**
   * Makes sandboxes, wherever the control plane places them. Those that this fleet has already are not made again.
   *
   * @param teamId whose they are.
   * @param fleetId tells this fleet's sandboxes from those of an earlier one.
   */
  async createSandboxes(count: number, teamId: string, fleetId: string, onCreated: () => void): Promise<void> {
    await inParallel(indices(count), WIDTH, async (index) => {
      const name = simulatedName(index);
      const input = {
        teamId,
        name,
        vcpus: 0.1,
        memoryMb: 64,
        diskMb: 64,
        labels: [{ key: 'simulated', value: 'true' }],
        idempotencyKey: `simulate-${sha256(fleetId).slice(0, 16)}-${index}`,
      };
      const { createSandbox } = await this.#api.run<{ createSandbox: UserError }>(
        `mutation ($input: CreateSandboxInput!) { createSandbox(input: $input) { __typename ... on UserError { message } } }`,
        { input },
      );
      if (createSandbox.__typename !== 'SandboxCreated')
        throw new StartupError(
          `The sandbox ${name} could not be made: ${createSandbox.message ?? createSandbox.__typename}`,
        );
      onCreated();
    });
  }

  /** Deletes all simulated hosts with everything on them, and what is kept of them here. @returns how many there were. */
  async cleanUp(stateDir: string): Promise<number> {
    const hosts = await this.hosts();
    await inParallel(hosts, WIDTH, async ({ id, name }) => {
      await this.#delete(id, name);
      await rm(join(stateDir, name), { recursive: true, force: true });
    });
    return hosts.length;
  }

  async #delete(hostId: string, name: string): Promise<void> {
    let previewDigest: string | undefined;
    for (let attempt = 1; ; attempt++) {
      const { deleteHost } = await this.#api.run<{ deleteHost: UserError & { previewDigest?: string } }>(
        `mutation ($input: DeleteHostInput!) { deleteHost(input: $input) {
          __typename ... on HostHasSandboxes { previewDigest } ... on UserError { message }
        } }`,
        { input: { hostId, force: previewDigest !== undefined, previewDigest } },
      );
      if (deleteHost.__typename === 'HostDeleted' || deleteHost.__typename === 'NotFound') return;
      ({ previewDigest } = deleteHost);
      if (previewDigest === undefined || attempt === DELETE_ATTEMPTS)
        throw new StartupError(`The host ${name} could not be deleted: ${deleteHost.message ?? deleteHost.__typename}`);
    }
  }
}

interface HostPage {
  readonly edges: readonly { readonly node: SimulatedHost }[];
  readonly pageInfo: { readonly hasNextPage: boolean; readonly endCursor: string | null };
}

/** By two signs, so that nobody's real host is deleted for its name. */
const isSimulated = ({ name, provider }: SimulatedHost): boolean =>
  provider === SIMULATED_PROVIDER && /^sim-\d{4,}$/.test(name);

/** 1 … count */
export const indices = (count: number): number[] => Array.from({ length: count }, (_, index) => index + 1);
