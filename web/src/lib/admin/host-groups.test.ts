import { describe, expect, it } from 'vitest';
import type { Host } from '#lib/hosts/host.ts';
import { groupByTeam } from './host-groups.ts';

const newHost = (id: string, team: string | null, teamName = team): Host =>
  ({ id, kind: team === null ? 'PLATFORM' : 'BYOC', team: team === null ? null : { id: team }, teamName }) as Host;

describe('hosts by team', () => {
  it('leave the platform’s own out, and keep their order within a team', () => {
    const groups = groupByTeam([newHost('1', 'b'), newHost('2', null), newHost('3', 'a'), newHost('4', 'b')]);
    expect(groups.map(({ teamName, hosts }) => [teamName, hosts.map(({ id }) => id)])).toEqual([
      ['a', ['3']],
      ['b', ['1', '4']],
    ]);
  });

  it('tell two teams of the same name apart', () => {
    const groups = groupByTeam([newHost('1', 'x', 'Same'), newHost('2', 'y', 'Same')]);
    expect(groups.map(({ teamId }) => teamId)).toEqual(['x', 'y']);
  });

  it('put a team whose name could not be read last, unless another of its hosts knows it', () => {
    const unknown = { ...newHost('1', 'x'), teamName: null };
    expect(groupByTeam([unknown, newHost('2', 'y')]).map(({ teamName }) => teamName)).toEqual(['y', null]);
    expect(groupByTeam([unknown, newHost('2', 'x')]).map(({ teamName }) => teamName)).toEqual(['x']);
  });
});
