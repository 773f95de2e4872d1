import { isAutoPaused, type ErrorCause, type ObservedStatus, type SandboxRecord } from './sandbox.state.ts';

/** What control is told of one sandbox; the shape of the protocol. */
export interface ObservedSandbox {
  readonly id: string;
  readonly generation: number;
  readonly status: ObservedStatus;
  readonly statusReason: string | null;
  readonly startedAt: string | null;
  readonly lastActiveAt: string | null;
  /** Paused by this host because it was idle, and not acknowledged yet. */
  readonly autoPaused: boolean;
  readonly errorCause: ErrorCause | null;
}

export interface Inventory {
  readonly epoch: number;
  readonly bootId: string;
  readonly digest: string;
  readonly sandboxes: readonly ObservedSandbox[];
}

export const observed = (record: SandboxRecord): ObservedSandbox => ({
  id: record.spec.id,
  generation: record.generation,
  status: record.status,
  statusReason: record.statusReason,
  startedAt: record.startedAt,
  lastActiveAt: record.lastActiveAt,
  autoPaused: isAutoPaused(record),
  errorCause: record.status === 'ERROR' ? record.errorCause : null,
});
