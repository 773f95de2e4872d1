import type { Caller } from '@rookery/wire/caller.ts';
import { decodeGlobalID } from '@pothos/plugin-relay';
import { parse, type FormattedExecutionResult, type GraphQLSchema, type GraphQLUnionType } from 'graphql';
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { startTestControl } from '../test/harness.ts';
import { outcomeOf, type Outcome } from '../test/policy/outcome.ts';
import { ENTITIES, FIELDS, OPERATIONS, type PolicyRow } from '../test/policy/policy.ts';
import { ACTORS, newWorld, type ActorName, type World } from '../test/policy/world.ts';
import { ScriptedAgent } from '../test/scripted-agent.ts';
import { accountsSchema } from './accounts/accounts.ts';
import type { Control } from './app.ts';
import { toCursor } from './kernel/events/change-stream.ts';
import type { EventTables } from './kernel/events/event.entity.ts';
import { fleetSchema } from './fleet/fleet.ts';
import type { Evidence, FleetState, Verdict } from './fleet/monitor/monitor.state.ts';
import type { Term } from './kernel/leadership.ts';
import { toGlobalId, type GlobalIdType } from './kernel/global-id.ts';
import { nodesSchema } from './nodes/nodes.ts';

/** Every door of the API × everyone who might try it, against the outcomes that are written down in `test/policy/policy.ts`. */

const SCHEMAS: Readonly<Record<string, GraphQLSchema>> = {
  accounts: accountsSchema(),
  fleet: fleetSchema(),
  nodes: nodesSchema(),
};

let control: Control;
let agent: ScriptedAgent;

beforeAll(async () => {
  control = await startTestControl();
  const { registrationToken } = await control.fleet.services.hosts.createLocal('real');
  agent = await ScriptedAgent.join(control.agentUrl, registrationToken);
});
afterAll(async () => {
  await agent[Symbol.asyncDispose]();
  await control[Symbol.asyncDispose]();
});

/** `Query.host` → the subgraph that has it. */
function doors(): Map<string, string> {
  const found = new Map<string, string>();
  for (const [subgraph, schema] of Object.entries(SCHEMAS)) {
    for (const type of [schema.getQueryType(), schema.getMutationType(), schema.getSubscriptionType()]) {
      for (const field of Object.keys(type?.getFields() ?? {})) {
        // For gateways alone: the entity resolvers have rows of their own, and the SDL is no secret.
        if (field !== '_entities' && field !== '_service') found.set(`${type?.name}.${field}`, subgraph);
      }
    }
  }
  return found;
}

const doorOf = (row: string): string => row.split(' ', 1)[0] as string;
const subgraphOf = (row: string): string => doors().get(doorOf(row)) as string;

describe('every door is written down', () => {
  test('each query, mutation and subscription has a row, and no row is about nothing', () => {
    expect([...new Set(Object.keys(OPERATIONS).map(doorOf))].sort()).toEqual([...doors().keys()].sort());
  });

  test('each type that gateways may ask for by its key has a row', () => {
    const entities = Object.entries(SCHEMAS).flatMap(([subgraph, schema]) => {
      const union = schema.getType('_Entity') as GraphQLUnionType | undefined;
      // The stubs of `nodes` resolve nothing.
      return subgraph === 'nodes' ? [] : (union?.getTypes() ?? []).map(({ name }) => `${subgraph}.${name}`);
    });
    expect(Object.keys(ENTITIES).sort()).toEqual(entities.sort());
  });
});

async function attempt(world: World, actor: ActorName, subgraph: string, row: PolicyRow): Promise<Outcome> {
  const { ids, invitationToken, refreshToken } = world;
  const variables = { ...ids, invitationToken, refreshToken, ...row.variables?.(world) };
  const document = parse(row.document);
  const result = await control.execute(subgraph, { document, variables }, world.callers[actor]);
  if (!(Symbol.asyncIterator in result)) return outcomeOf(result);
  if (isReplayed(row)) return heard(result, row.hears ?? ids.team);
  const { value } = await result.next();
  await result.return?.();
  return outcomeOf(value as FormattedExecutionResult);
}

/**
 * Whether a stream tells of what happened to the team, or to what the row names, first. Everybody hears something: what happened
 * afterwards to a thing of their own.
 */
async function heard(stream: AsyncIterableIterator<FormattedExecutionResult>, what: string): Promise<Outcome> {
  const step = await stream.next();
  await stream.return?.();
  const value = step.value as FormattedExecutionResult;
  return outcomeOf(value) === 'ALLOWED' && JSON.stringify(value).includes(what) ? 'ALLOWED' : 'NOT_FOUND';
}

async function outcomes(
  subgraph: string,
  row: PolicyRow,
  worldFor: (actor: ActorName) => Promise<World>,
): Promise<Record<string, Outcome>> {
  const found: Record<string, Outcome> = {};
  for (const actor of ACTORS) found[actor] = await attempt(await worldFor(actor), actor, subgraph, row);
  return found;
}

/** What a pass of the monitor writes. */
async function judgeFleet(state: FleetState): Promise<void> {
  const term = { epoch: 1, fence: async () => {} } as unknown as Term;
  const counts = { heard: 0, silent: 1, lost: 0, unreachable: 0 } as Evidence;
  const verdict = { state, reason: state === 'NORMAL' ? null : 'MASS_SILENCE' } as Verdict;
  await control.fleet.services.health.publish(term, verdict, counts);
}
/** A subscription to changes, which can be heard after they happened; others begin to do something. */
const isReplayed = ({ document }: PolicyRow): boolean => document.includes('$after');

const rowsOf = (kind: string) => Object.entries(OPERATIONS).filter(([name]) => name.startsWith(kind));

describe('reading', () => {
  let world: World;
  beforeAll(async () => {
    world = await newWorld(control, agent.accessToken);
    await judgeFleet('NORMAL');
    // So that there is something on the team's trail.
    const rename = parse('mutation ($t: ID!) { renameTeam(input: { teamId: $t, name: "Mine" }) { __typename } }');
    await control.execute('accounts', { document: rename, variables: { t: world.ids.team } }, world.callers.owner);
  });

  test.each(rowsOf('Query'))('%s', async (name, row) => {
    expect(await outcomes(subgraphOf(name), row, async () => world)).toEqual(row.expected);
  });
  test.each(Object.entries(ENTITIES))('the entity %s', async (name, row) => {
    expect(await outcomes(name.split('.', 1)[0] as string, row, async () => world)).toEqual(row.expected);
  });
  test.each(Object.entries(FIELDS))('the field %s', async (_name, row) => {
    expect(await outcomes(row.subgraph, row, async () => world)).toEqual(row.expected);
  });
});

describe('changing', () => {
  test.each(rowsOf('Mutation'))('%s', { timeout: 60_000 }, async (name, row) => {
    // A refusal changes nothing, so those who are refused share a world.
    const shared = await newWorld(control, agent.accessToken);
    const worldFor = async (actor: ActorName) =>
      row.expected[actor] === 'ALLOWED' ? newWorld(control, agent.accessToken) : shared;
    expect(await outcomes(subgraphOf(name), row, worldFor)).toEqual(row.expected);
  });
});

describe('starting', () => {
  test.each(rowsOf('Subscription').filter(([, row]) => !isReplayed(row)))('%s', async (name, row) => {
    const world = await newWorld(control, agent.accessToken);
    expect(await outcomes(subgraphOf(name), row, async () => world)).toEqual(row.expected);
  });
});

describe('what does not exist', () => {
  const hidden = [
    ...Object.entries(OPERATIONS).map(([name, row]) => [name, subgraphOf(name), row] as const),
    ...Object.entries(ENTITIES).map(([name, row]) => [name, name.split('.', 1)[0] as string, row] as const),
    ...Object.entries(FIELDS).map(([name, row]) => [name, row.subgraph, row] as const),
  ].filter(([name, , row]) => row.expected.stranger === 'NOT_FOUND' && !name.startsWith('Subscription'));

  test.each(hidden)('is what another team’s thing looks like to %s', async (_name, subgraph, row) => {
    const world = await newWorld(control, agent.accessToken);
    const answer = async (ids: Readonly<Record<string, string>>) => {
      const { invitationToken, refreshToken } = world;
      const variables = { ...ids, invitationToken, refreshToken, ...row.variables?.(world) };
      return control.execute(subgraph, { document: parse(row.document), variables }, world.callers.stranger);
    };
    const nothing = Object.entries(world.ids).map(([key, id]) => {
      const { typename } = decodeGlobalID(id);
      return [key, toGlobalId(typename as GlobalIdType, randomUUID())];
    });
    const ofNothing = await answer(Object.fromEntries(nothing) as Record<string, string>);
    expect(await answer(world.ids)).toEqual(ofNothing);
  });
});

describe('hearing', () => {
  test.each(rowsOf('Subscription').filter(([, row]) => isReplayed(row)))('%s', async (name, row) => {
    const { hub } = control.accounts.services;
    const world = await newWorld(control, agent.accessToken);
    await settled();
    const before = hub.position;
    await changeEverything(world);
    await settled();
    const withCursor = { ...row, variables: () => ({ after: toCursor(before) }) };
    expect(await outcomes(subgraphOf(name), withCursor, async () => world)).toEqual(row.expected);
  });

  /** Every event that was written has its position, and this process has read it. */
  async function settled(): Promise<void> {
    const { hub } = control.accounts.services;
    const unsequenced = control.database
      .as<EventTables>()
      .query.selectFrom('Event')
      .select('id')
      .where('position', 'is', null);
    await vi.waitFor(async () => {
      expect(await unsequenced.execute()).toEqual([]);
      expect(hub.position).toBe(await hub.newestStored());
    });
  }

  /** Something happens to the team, its host and its sandbox, and then the same to the other team's; then the member signs out of somewhere. */
  async function changeEverything({ ids, callers, memberSession }: World): Promise<void> {
    const run = async (subgraph: string, mutation: string, caller: Caller, variables: object = {}) => {
      const operation = { document: parse(mutation), variables: { ...variables } };
      const result = await control.execute(subgraph, operation, caller);
      expect((result as FormattedExecutionResult).errors).toBeUndefined();
    };
    for (const { owner, sandbox, team } of [
      { owner: callers.owner, sandbox: ids.sandbox, team: ids.team },
      { owner: callers.stranger, sandbox: ids.theirSandbox, team: ids.theirTeam },
    ]) {
      const destroy = 'mutation ($sandbox: ID!) { destroySandbox(input: { sandboxId: $sandbox }) { __typename } }';
      const rename = 'mutation ($team: ID!) { renameTeam(input: { teamId: $team, name: "Ours" }) { __typename } }';
      const create =
        'mutation ($team: ID!) { createHost(input: { name: "heard", kind: BYOC, teamId: $team }) { __typename } }';
      await run('fleet', destroy, owner, { sandbox });
      await run('accounts', rename, owner, { team });
      await run('fleet', create, owner, { team });
      await settled();
    }
    await run('accounts', 'mutation { signOut }', memberSession);
    await judgeFleet('NORMAL');
    await judgeFleet('FROZEN');
  }
});
