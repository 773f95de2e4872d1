import type { FleetBuilder } from '../builder.ts';
import type { SharedTypes } from '../shared.schema.ts';
import {
  PLACEMENT_FILTERS,
  PLACEMENT_STRATEGIES,
  type FailedAttempt as FailedAttemptRecord,
  type Placement as PlacementRecord,
  type PlacementRejection as PlacementRejectionRecord,
} from './placement.ts';

/** `Placement`: why a sandbox is where it is. */
export function addPlacement(builder: FleetBuilder, Host: SharedTypes['Host']) {
  const PlacementFilter = builder.enumType('PlacementFilter', {
    description: 'What a host must pass to be a candidate, in the order in which it is asked.',
    values: PLACEMENT_FILTERS,
  });
  const PlacementStrategy = builder.enumType('PlacementStrategy', { values: PLACEMENT_STRATEGIES });
  const PlacementRejection = builder.objectRef<PlacementRejectionRecord>('PlacementRejection').implement({
    description: 'How many hosts one filter turned away; a host counts under the first filter that it fails.',
    fields: (t) => ({ filter: t.expose('filter', { type: PlacementFilter }), hosts: t.exposeInt('hosts') }),
  });
  const FailedAttempt = builder.objectRef<FailedAttemptRecord>('PlacementFailedAttempt').implement({
    description: 'A host that could not start the sandbox.',
    fields: (t) => ({
      host: t.field({
        type: Host,
        nullable: true,
        description: 'Null when the viewer may not see it, or it is gone.',
        resolve: ({ hostId }, _args, { loaders }) => loaders.host.load(hostId),
      }),
      error: t.exposeString('error'),
    }),
  });
  const Placement = builder.objectRef<PlacementRecord>('Placement').implement({
    description: 'Why a sandbox is on its host.',
    fields: (t) => ({
      strategy: t.expose('strategy', { type: PlacementStrategy }),
      score: t.float({
        nullable: true,
        description:
          'What the strategy ranked the host by, the highest wins: seconds since it was last placed on (ROUND_ROBIN), its free share (LEAST_LOADED), its promised share (BIN_PACK).',
        resolve: ({ score }) => score ?? null,
      }),
      candidates: t.exposeInt('candidates', {
        description: 'Of the hosts that were counted, those that passed every filter.',
      }),
      considered: t.int({
        description: 'Hosts that were counted.',
        resolve: ({ considered, candidates, rejections }) =>
          considered ?? candidates + rejections.reduce((sum, { hosts }) => sum + hosts, 0),
      }),
      sampled: t.boolean({
        description: 'Whether there are more hosts than were counted.',
        resolve: ({ sampled }) => sampled ?? false,
      }),
      rejections: t.expose('rejections', { type: [PlacementRejection] }),
      failedAttempts: t.field({
        type: [FailedAttempt],
        description: 'Hosts that it was placed on before, and that failed to start it.',
        resolve: ({ failedAttempts }) => failedAttempts ?? [],
      }),
    }),
  });
  return { Placement, PlacementRejection };
}
