import { afterAll, beforeAll, expect, test } from 'vitest';
import { insertHost, newAdmin, newTeam, startTestControl } from '../../../test/harness.ts';
import type { Control } from '../../app.ts';
import { HostByoc } from './host-byoc.service.ts';
import { hostConditions } from './host.state.ts';

/** What becomes of a team's hosts when a platform admin ends its bringing any. */

let control: Control;
let team: Awaited<ReturnType<typeof newTeam>>['team'];
let hostId: string;
const admin = newAdmin();

beforeAll(async () => {
  control = await startTestControl();
  ({ team } = await newTeam(control));
  hostId = (await insertHost(control.database, { kind: 'BYOC', teamId: team.id })).id;
});
afterAll(() => control[Symbol.asyncDispose]());

const setByoc = (isByoc: boolean) => control.accounts.services.teams.setByoc(admin, team.id, isByoc);
const blocking = async () =>
  hostConditions((await control.fleet.services.hosts.findForControl(hostId)) as never)
    .filter(({ blocksPlacement }) => blocksPlacement)
    .map(({ type }) => type);
const place = () => control.fleet.services.sandboxes.create(admin, { teamId: team.id });

test('nothing new comes, nothing is placed, and what is there stays visible and can be deleted', async () => {
  const { hosts, deletion, sandboxes } = control.fleet.services;
  const { sandbox } = await place();
  await setByoc(false);
  expect(await blocking()).toEqual(['BYOC_DISABLED']);
  await expect(place()).rejects.toMatchObject({
    code: 'NO_HOST_FITS',
    rejections: [{ filter: 'BYOC_DISABLED', hosts: 1 }],
  });
  await expect(hosts.create(admin, { name: 'more', kind: 'BYOC', teamId: team.id })).rejects.toMatchObject({
    code: 'TEAM_NOT_BYOC',
  });
  expect((await hosts.find(admin, hostId))?.id).toBe(hostId);
  expect((await sandboxes.find(admin, sandbox.id))?.hostId).toBe(hostId);
  expect((await deletion.preview(hostId)).affectedSandboxes.map(({ id }) => id)).toEqual([sandbox.id]);
});

test('switched on again, hosts take sandboxes as before', async () => {
  await setByoc(true);
  expect(await blocking()).toEqual([]);
  expect((await place()).sandbox.hostId).toBe(hostId);
});

test('a switch that did not reach the hosts is made good by the next pass', async () => {
  const { accounts, fleet, database } = control;
  const byoc = new HostByoc({
    database: database.as(),
    accounts: accounts.port,
    operations: fleet.services.hostOperations,
  });
  await database.orm.em.fork().execute(`update teams set is_byoc = false where id = '${team.id}'`);
  expect(await byoc.followTeams()).toBe(1);
  expect(await blocking()).toEqual(['BYOC_DISABLED']);
  expect(await byoc.followTeams()).toBe(0);
  await setByoc(true);
});
