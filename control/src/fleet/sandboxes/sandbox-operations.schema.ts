import { fromGlobalId, NO_SUCH_ROW } from '../../kernel/global-id.ts';
import { NotFound, NotPermitted, UserError } from '../../kernel/user-errors.ts';
import type { FleetBuilder } from '../builder.ts';
import { HostDraining, SandboxNotPausable, SandboxNotResumable } from './sandbox-operations.service.ts';
import type { SandboxTypes } from './sandbox.schema.ts';
import type { SandboxWithCursor } from './sandbox.service.ts';

/** The mutations that pause and resume sandboxes. */
export function addSandboxOperations(builder: FleetBuilder, { Sandbox, SandboxStatus }: SandboxTypes): void {
  builder.objectType(SandboxNotPausable, {
    name: 'SandboxNotPausable',
    description: 'It has ended, or is about to.',
    interfaces: [UserError],
    fields: (t) => ({ status: t.expose('status', { type: SandboxStatus }) }),
  });
  builder.objectType(SandboxNotResumable, {
    name: 'SandboxNotResumable',
    description: 'It has ended or is about to.',
    interfaces: [UserError],
    fields: (t) => ({ status: t.expose('status', { type: SandboxStatus }) }),
  });
  builder.objectType(HostDraining, {
    name: 'HostDraining',
    description: 'The sandbox’s host is being drained, which would pause it again.',
    interfaces: [UserError],
  });
  const SandboxPaused = builder.objectRef<SandboxWithCursor>('SandboxPaused').implement({
    fields: (t) => ({
      sandbox: t.expose('sandbox', {
        type: Sandbox,
        description: 'PAUSING until its host has confirmed. MISSING: it is paused when its host returns.',
      }),
      cursor: t.exposeString('cursor', { description: 'Of the event log, not later than this change.' }),
    }),
  });
  const SandboxResumed = builder.objectRef<SandboxWithCursor>('SandboxResumed').implement({
    fields: (t) => ({
      sandbox: t.expose('sandbox', {
        type: Sandbox,
        description: 'RESUMING until its host has confirmed. MISSING: it is resumed when its host returns.',
      }),
      cursor: t.exposeString('cursor', { description: 'Of the event log, not later than this change.' }),
    }),
  });
  const PauseSandboxInput = builder.inputType('PauseSandboxInput', {
    fields: (t) => ({ sandboxId: t.id({ required: true }) }),
  });
  const ResumeSandboxInput = builder.inputType('ResumeSandboxInput', {
    fields: (t) => ({ sandboxId: t.id({ required: true }) }),
  });

  builder.mutationFields((t) => ({
    pauseSandbox: t.field({
      type: SandboxPaused,
      description:
        'Freezes the sandbox’s processes; its memory, disk and place stay. While the host is away the wish is kept. Asking again changes nothing.',
      errors: { types: [NotFound, NotPermitted, SandboxNotPausable], union: { name: 'PauseSandboxResult' } },
      args: { input: t.arg({ type: PauseSandboxInput, required: true }) },
      resolve: (_root, { input }, { viewer, services }) =>
        services.sandboxOperations.pause(viewer, fromGlobalId('Sandbox', input.sandboxId) ?? NO_SUCH_ROW),
    }),
    resumeSandbox: t.field({
      type: SandboxResumed,
      description:
        'Lets a paused sandbox run on. While the host is away the wish is kept. Asking again changes nothing.',
      errors: {
        types: [HostDraining, NotFound, NotPermitted, SandboxNotResumable],
        union: { name: 'ResumeSandboxResult' },
      },
      args: { input: t.arg({ type: ResumeSandboxInput, required: true }) },
      resolve: (_root, { input }, { viewer, services }) =>
        services.sandboxOperations.resume(viewer, fromGlobalId('Sandbox', input.sandboxId) ?? NO_SUCH_ROW),
    }),
  }));
}
