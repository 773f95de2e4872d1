import { JOIN_WARNINGS, type JoinWarning } from './agent-channel/agent-url.ts';
import type { FleetBuilder, FleetContext } from './builder.ts';
import { CHANGE_KIND_ENUM } from '../kernel/events/change-stream.ts';
import type { Label } from './hosts/host.entity.ts';
import type { HostRow } from './tables.ts';

/** Types that hosts and sandboxes share. */
export function addShared(builder: FleetBuilder) {
  const Team = builder.externalRef('Team', builder.selection<{ id: string }>('id')).implement({
    externalFields: (t) => ({ id: t.id() }),
  });

  /** Declared here and not with its fields, because hosts and sandboxes refer to each other. */
  const Host = builder.objectRef<HostRow>('Host');

  const LabelRef = builder.objectRef<Label>('Label').implement({
    fields: (t) => ({ key: t.exposeString('key'), value: t.exposeString('value') }),
  });
  const LabelInput = builder.inputType('LabelInput', {
    fields: (t) => ({ key: t.string({ required: true }), value: t.string({ required: true }) }),
  });
  const ChangeKind = builder.enumType('ChangeKind', CHANGE_KIND_ENUM);
  const JoinWarningCode = builder.enumType('JoinWarningCode', {
    description:
      'AGENT_NOT_BUILT: there is no agent to download. AGENT_URL_LOCAL: only this machine reaches that address. AGENT_URL_UNREACHABLE: the control plane itself does not.',
    values: JOIN_WARNINGS,
  });
  const JoinWarningRef = builder.objectRef<JoinWarning>('JoinWarning').implement({
    description: 'Why a join command may not work where it is pasted.',
    fields: (t) => ({ code: t.expose('code', { type: JoinWarningCode }), message: t.exposeString('message') }),
  });
  /** The field beside every join command. */
  const joinWarnings = {
    type: [JoinWarningRef] as [typeof JoinWarningRef],
    description: 'What stands in the way of the join command, as seen from the control plane. Takes up to two seconds.',
    resolve: (_parent: unknown, _args: unknown, { services }: FleetContext) => services.agentUrl.warnings(),
  };
  return { joinWarnings, Host, Team, Label: LabelRef, LabelInput, ChangeKind };
}

export type SharedTypes = ReturnType<typeof addShared>;
