import { decodeGlobalID, encodeGlobalID } from '@pothos/plugin-relay';

/** The kinds of things that `node(id)` can find. */
export const NODE_TYPES = ['Host', 'Sandbox', 'Team', 'User'] as const;
export type NodeType = (typeof NODE_TYPES)[number];

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

/** Whether a text can be a row id; anything else must not reach a query. */
export const isUuid = (text: string): boolean => UUID.test(text);

/** The opaque id by which the API names a thing. */
export const toGlobalId = (type: NodeType, id: string): string => encodeGlobalID(type, id);

/** The row id in an opaque id of the given type; undefined for anything else, garbage included. */
export function fromGlobalId(type: NodeType, globalId: string | number): string | undefined {
  try {
    const { typename, id } = decodeGlobalID(String(globalId));
    return typename === type && isUuid(id) ? id : undefined;
  } catch {
    return undefined;
  }
}
