import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { TestFleet } from '../../../test/fleet-fixture.ts';
import { insertHost, newMember } from '../../../test/harness.ts';
import type { HostRow } from '../tables.ts';
import { hostConditions, isSchedulable } from './host.state.ts';

let fleet: TestFleet;

beforeAll(async () => {
  fleet = await TestFleet.start();
});
afterAll(() => fleet[Symbol.asyncDispose]());

const newHost = (host: Partial<HostRow> = {}) => insertHost(fleet.control.database, host);
const operations = () => fleet.services.hostOperations;

describe('updating a host', () => {
  test('changes what is given and leaves the rest', async () => {
    const { id } = await newHost({ labels: [{ key: 'zone', value: 'a' }] });
    const name = `renamed-${randomUUID().slice(0, 8)}`;
    expect((await operations().update(fleet.admin, id, { name })).host).toMatchObject({
      name,
      revision: 2,
      labels: [{ key: 'zone', value: 'a' }],
    });
    expect((await operations().update(fleet.admin, id, { labels: [] })).host).toMatchObject({
      name,
      labels: [],
      revision: 3,
    });
    expect(await fleet.events(id)).toEqual(['host.updated', 'host.updated']);
  });

  test('to what it is already changes nothing', async () => {
    const { id, name } = await newHost();
    expect((await operations().update(fleet.admin, id, { name, labels: [] })).host.revision).toBe(1);
    expect(await fleet.events(id)).toEqual([]);
  });

  test('from a revision that is gone is refused', async () => {
    const { id } = await newHost();
    await operations().update(fleet.admin, id, { labels: [{ key: 'a', value: '1' }], expectedRevision: 1 });
    await expect(operations().update(fleet.admin, id, { labels: [], expectedRevision: 1 })).rejects.toMatchObject({
      code: 'REVISION_MISMATCH',
      currentRevision: 2,
    });
    expect((await fleet.host(id)).labels).toEqual([{ key: 'a', value: '1' }]);
  });

  test('to a name that is taken, or to nonsense, is refused', async () => {
    const [one, two] = [await newHost(), await newHost()];
    await expect(operations().update(fleet.admin, one.id, { name: two.name })).rejects.toMatchObject({
      code: 'NAME_TAKEN',
    });
    await expect(operations().update(fleet.admin, one.id, { name: 'not a name!' })).rejects.toMatchObject({
      code: 'INVALID_INPUT',
    });
    await expect(
      operations().update(fleet.admin, one.id, {
        labels: [
          { key: 'a', value: '1' },
          { key: 'a', value: '2' },
        ],
      }),
    ).rejects.toMatchObject({ code: 'INVALID_INPUT' });
  });
});

describe('cordoning a host', () => {
  test('keeps new sandboxes away until it is uncordoned; asking again changes nothing', async () => {
    const { id } = await newHost();
    await operations().cordon(fleet.admin, id);
    const { host } = await operations().cordon(fleet.admin, id);
    expect(host.revision).toBe(2);
    expect(hostConditions(host)).toMatchObject([{ type: 'CORDONED', blocksPlacement: true }]);
    await expect(fleet.create({ hostId: id })).rejects.toMatchObject({ code: 'NO_HOST_FITS' });
    expect(isSchedulable((await operations().uncordon(fleet.admin, id)).host)).toBe(true);
    expect((await operations().uncordon(fleet.admin, id)).host.revision).toBe(3);
    expect((await fleet.create({ hostId: id })).hostId).toBe(id);
    expect(await fleet.events(id)).toEqual(['host.cordoned', 'host.uncordoned', 'host.reserved']);
  });
});

test('what changes a host is for the managers of its team, and others do not learn that it exists', async () => {
  const teamId = randomUUID();
  const { id } = await newHost({ kind: 'BYOC', teamId });
  const attempts = (viewer: Parameters<ReturnType<typeof operations>['cordon']>[0]) => [
    () => operations().update(viewer, id, {}),
    () => operations().cordon(viewer, id),
    () => operations().uncordon(viewer, id),
    () => fleet.services.drains.drain(viewer, id, {}),
  ];
  for (const attempt of attempts(null)) await expect(attempt()).rejects.toMatchObject({ code: 'UNAUTHENTICATED' });
  for (const attempt of attempts(newMember(randomUUID(), 'OWNER'))) {
    await expect(attempt()).rejects.toMatchObject({ code: 'NOT_FOUND' });
  }
  for (const attempt of attempts(newMember(teamId)))
    await expect(attempt()).rejects.toMatchObject({ code: 'NOT_PERMITTED' });
  expect((await fleet.host(id)).revision).toBe(1);
  for (const attempt of attempts(newMember(teamId, 'ADMIN'))) await attempt();
});

test('switching BYOC off for a team keeps new sandboxes off its hosts, and on lets them in again', async () => {
  const [teamId, otherTeam] = [randomUUID(), randomUUID()];
  const [mine, alsoMine, deleted, foreign] = [
    await newHost({ kind: 'BYOC', teamId }),
    await newHost({ kind: 'BYOC', teamId }),
    await newHost({ kind: 'BYOC', teamId, deletedAt: new Date() }),
    await newHost({ kind: 'BYOC', teamId: otherTeam }),
  ];
  const set = (allowed: boolean) => operations().setTeamByoc('control', teamId, allowed);
  expect(await set(false)).toBe(2);
  expect(await set(false)).toBe(0);
  for (const { id } of [mine, alsoMine]) {
    const host = await fleet.host(id);
    expect(hostConditions(host)).toMatchObject([{ type: 'BYOC_DISABLED', blocksPlacement: true }]);
    expect(await fleet.events(id)).toEqual(['host.byoc_disabled']);
  }
  for (const { id } of [deleted, foreign]) expect((await fleet.host(id)).byocDisabledAt).toBeNull();
  expect(await Promise.all([set(true), set(true)])).toContain(2);
  expect(isSchedulable(await fleet.host(mine.id))).toBe(true);
});
