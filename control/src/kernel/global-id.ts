import { decodeGlobalID, encodeGlobalID } from '@pothos/plugin-relay';

/** The kinds of things that `node(id)` can find. */
export const NODE_TYPES = ['ApiKey', 'Host', 'Sandbox', 'Team', 'User'] as const;
export type NodeType = (typeof NODE_TYPES)[number];

/** What has an opaque id, whether `node(id)` finds it or not. */
export type GlobalIdType = NodeType | 'AuditEvent' | 'Invitation' | 'Session';

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

/** Whether a text can be a row id; anything else must not reach a query. */
export const isUuid = (text: string): boolean => UUID.test(text);

/** The opaque id by which the API names a thing. */
export const toGlobalId = (type: GlobalIdType, id: string): string => encodeGlobalID(type, id);

/** The row id in an opaque id of the given type; undefined for anything else, garbage included. */
export function fromGlobalId(type: GlobalIdType, globalId: string | number): string | undefined {
  try {
    const { typename, id } = decodeGlobalID(String(globalId));
    return typename === type && isUuid(id) ? id : undefined;
  } catch {
    return undefined;
  }
}

/** The row id in an opaque id of any type, for filters; one that matches nothing for garbage, undefined without an id. */
export function anyRowId(globalId: string | number | null | undefined): string | undefined {
  if (globalId == null) return undefined;
  try {
    const { id } = decodeGlobalID(String(globalId));
    return isUuid(id) ? id : NO_SUCH_ROW;
  } catch {
    return NO_SUCH_ROW;
  }
}

/** The nil UUID; no row has it. */
export const NO_SUCH_ROW = '00000000-0000-0000-0000-000000000000';
