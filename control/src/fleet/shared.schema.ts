import type { FleetBuilder } from './builder.ts';
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
  return { Host, Team, Label: LabelRef, LabelInput, ChangeKind };
}

export type SharedTypes = ReturnType<typeof addShared>;
