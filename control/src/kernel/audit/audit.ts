import { AsyncLocalStorage } from 'node:async_hooks';
import type { Viewer } from '../viewer.ts';

export const AUDIT_ACTOR_KINDS = ['USER', 'API_KEY', 'HOST', 'CONTROL', 'ANONYMOUS'] as const;
export type AuditActorKind = (typeof AUDIT_ACTOR_KINDS)[number];

/** `REFUSED`: answered with an expected failure. `FAILED`: something went wrong on our side. */
export const AUDIT_OUTCOMES = ['SUCCEEDED', 'REFUSED', 'FAILED'] as const;
export type AuditOutcome = (typeof AUDIT_OUTCOMES)[number];

/** Whoever did something. */
export interface AuditActor {
  readonly kind: AuditActorKind;
  readonly id: string | null;
  readonly label: string | null;
}

export const ANONYMOUS: AuditActor = { kind: 'ANONYMOUS', id: null, label: null };

export const auditActor = (viewer: Viewer | null): AuditActor =>
  viewer ? { kind: viewer.kind, id: viewer.id, label: viewer.label } : ANONYMOUS;

/** What an operation was done to, as far as its caller may know of it. */
export interface AuditSubject {
  /** The noun of its actions: `host`, `api-key`. */
  readonly type: string;
  /** Row id; null for what is yet to be made. */
  readonly id: string | null;
  readonly teamId: string | null;
}

interface Draft {
  subject: AuditSubject | undefined;
}

const drafts = new AsyncLocalStorage<Draft>();

/** Runs one audited operation; `noteAuditSubject` within it is kept for `subject`. */
export function withAuditSubject<T>(work: (subject: () => AuditSubject | undefined) => Promise<T>): Promise<T> {
  const draft: Draft = { subject: undefined };
  return drafts.run(draft, () => work(() => draft.subject));
}

/**
 * Says what the operation under way is done to. The first word counts: a service authorizes its own
 * subject before it looks at others.
 *
 * Through async context rather than a parameter, so that authorizing is all it takes and no service
 * can forget it.
 */
export function noteAuditSubject(subject: AuditSubject): void {
  const draft = drafts.getStore();
  if (draft && !draft.subject) draft.subject = subject;
}
