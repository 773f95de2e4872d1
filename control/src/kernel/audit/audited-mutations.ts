import { errorTypeMap } from '@pothos/plugin-errors';
import { RookeryError } from '@rookery/wire/errors.ts';
import { defaultFieldResolver, GraphQLError, type GraphQLSchema } from 'graphql';
import type { SubgraphContext } from '../graphql.ts';
import type { AuditedEnd, AuditLog } from './audit-log.ts';
import { auditActor, withAuditSubject, type AuditActor, type AuditSubject } from './audit.ts';

/**
 * Puts every mutation of a subgraph on the audit trail: a row before it runs, its outcome after.
 * Here rather than in each service, so that a new mutation is on the trail without anyone thinking of it.
 *
 * @param schema its mutation fields are wrapped in place.
 */
export function auditMutations(schema: GraphQLSchema, log: AuditLog): void {
  for (const [name, field] of Object.entries(schema.getMutationType()?.getFields() ?? {})) {
    const resolve = field.resolve ?? defaultFieldResolver;
    field.resolve = (source, args, context: SubgraphContext, info) =>
      withAuditSubject(async (subject) => {
        const { viewer, caller } = context;
        const id = await log.begin(name, auditActor(viewer), harmless(args['input']), caller);
        try {
          const result: unknown = await resolve(source, args, context, info);
          await log.end(id, endOf(result, subject()));
          return result;
        } catch (error) {
          await log.end(id, { ...failureOf(error), subject: subject() });
          throw error;
        }
      });
  }
}

/** Parts of inputs that say what was wanted and give nothing away. Everything else stays out: passwords, tokens, commands, files. */
const HARMLESS = [
  'email',
  'force',
  'isAdmin',
  'isByoc',
  'kind',
  'name',
  'policy',
  'role',
  'scopes',
  'template',
  'userId',
] as const;

/** Texts longer than this are cut; an audit row is no place to store things. */
const MAX_DETAIL_TEXT = 255;

function harmless(input: unknown): Record<string, unknown> {
  const given = (typeof input === 'object' && input !== null ? input : {}) as Record<string, unknown>;
  return Object.fromEntries(
    HARMLESS.flatMap((key) => {
      const value = given[key];
      if (value === undefined || value === null) return [];
      // U+0000 would not fit into the table.
      return [[key, typeof value === 'string' ? value.replaceAll('\u0000', '').slice(0, MAX_DETAIL_TEXT) : value]];
    }),
  );
}

function endOf(result: unknown, noted: AuditSubject | undefined): AuditedEnd {
  const found = (typeof result === 'object' && result !== null ? result : {}) as Record<string, unknown>;
  // An expected failure is a value here: the errors plugin has made a union member of it.
  if (errorTypeMap.has(found)) {
    return { outcome: 'REFUSED', code: String(found['code'] ?? 'REFUSED'), subject: noted };
  }
  return { outcome: 'SUCCEEDED', code: null, subject: made(found, noted), actor: signedInActor(found) };
}

/** What was made has its id only now: it is the row in the payload. */
function made(payload: Record<string, unknown>, noted: AuditSubject | undefined): AuditSubject | undefined {
  if (!noted || noted.id) return noted;
  for (const value of Object.values(payload)) {
    if (typeof value !== 'object' || value === null || !('id' in value) || !('createdAt' in value)) continue;
    const row = value as { id: unknown; teamId?: unknown };
    if (typeof row.id !== 'string') continue;
    const teamId = typeof row.teamId === 'string' ? row.teamId : noted.type === 'team' ? row.id : noted.teamId;
    return { type: noted.type, id: row.id, teamId };
  }
  return noted;
}

/** Someone who has just signed in was nobody when the mutation began. */
function signedInActor(payload: Record<string, unknown>): AuditActor | undefined {
  const session = (payload['signedIn'] ?? payload) as Record<string, unknown>;
  const viewer = session['viewer'];
  return typeof viewer === 'object' && viewer !== null && 'kind' in viewer ? auditActor(viewer as never) : undefined;
}

function failureOf(error: unknown): { outcome: 'REFUSED' | 'FAILED'; code: string } {
  const cause = error instanceof GraphQLError ? error.originalError : error;
  if (cause instanceof RookeryError && cause.code !== 'INTERNAL' && cause.code !== 'UNAVAILABLE') {
    return { outcome: 'REFUSED', code: cause.code };
  }
  return { outcome: 'FAILED', code: cause instanceof RookeryError ? cause.code : 'INTERNAL' };
}
