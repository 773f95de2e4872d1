import type { Logger } from '@rookery/wire/log.ts';
import { pause } from '../backoff.ts';
import type { CredentialService } from '../enrolment/credential.service.ts';
import type { HostLoad, HostSpecs } from '../host/host.ts';
import type { Inventory } from '../sandboxes/inventory.ts';
import { HEARTBEAT, REPORT_SANDBOXES, SANDBOXES_TO_RUN } from './control.operations.ts';
import type {
  HeartbeatMutation,
  HeartbeatMutationVariables,
  ReportSandboxesMutation,
  ReportSandboxesMutationVariables,
  SandboxesToRunQuery,
  SandboxesToRunQueryVariables,
} from './generated/control-operations.ts';
import { ChannelError, ControlSession, type SessionEnd } from './control-session.ts';
import { Reconnect, type ReconnectSpread } from './reconnect.ts';

type HeartbeatAck = HeartbeatMutation['heartbeat'];

/** How long changes are gathered before they are reported, in ms. */
const COALESCE_MS = 50;

/** A control plane that asks for less or more than this is not taken at its word, in ms. */
const MIN_HEARTBEAT_MS = 250;
const MAX_HEARTBEAT_MS = 60_000;

export interface ChannelDeps {
  readonly credentials: CredentialService;
  readonly measure: () => Promise<{ specs: HostSpecs; load: HostLoad }>;
  readonly inventory: () => Inventory;
  /** Names this process to control. */
  readonly instance: string;
  /** A heartbeat was acknowledged. */
  readonly onAck: () => void;
  /** Control has news of us with this epoch. Says whether it was above ours, which it then is no more. */
  readonly exceedEpoch: (known: number) => boolean;
  /** Told what control asks for. */
  readonly spread: ReconnectSpread;
  readonly log: Logger;
}

/**
 * The agent's half of the agent channel: keeps one connection to control, beats on it at the pace
 * control dictates, and reports what has changed.
 */
export class ControlChannel implements AsyncDisposable {
  readonly #deps: ChannelDeps;
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;
  readonly #changed = new Set<string>();
  #session: ControlSession | undefined;
  #flush: NodeJS.Timeout | undefined;
  #reporting: Promise<void> | undefined;
  /** Control has not taken what was reported, for it was older than what it knows. */
  #isBehind = false;

  constructor(deps: ChannelDeps) {
    this.#deps = deps;
    this.#running = this.#run();
  }

  /** Reports a sandbox soon; changes of the next moments go with it. */
  reportSoon(id: string): void {
    this.#changed.add(id);
    this.#flush ??= setTimeout(() => {
      this.#flush = undefined;
      void this.#report(false);
    }, COALESCE_MS);
  }

  /**
   * Tells control what the host has now.
   *
   * @throws {ChannelError} when control has not taken it.
   */
  async reportAll(): Promise<void> {
    if (!(await this.#report(true))) throw new ChannelError('UNAVAILABLE', 'control has not heard the report');
  }

  /**
   * Of some sandboxes, those that control wants running.
   *
   * @throws {ChannelError} when it has not said so.
   */
  async toRun(ids: readonly string[]): Promise<ReadonlySet<string>> {
    if (!this.#session) throw new ChannelError('UNAVAILABLE', 'there is no connection to control');
    const answer = await this.#session.run<SandboxesToRunQuery, SandboxesToRunQueryVariables>(SANDBOXES_TO_RUN, {
      ids: [...ids],
    });
    return new Set(answer.sandboxesToRun);
  }

  /** Drops the connection, which is dialled anew as soon as there are credentials that may be used. */
  hangUp(): void {
    this.#session?.terminate();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearTimeout(this.#flush);
    this.#flush = undefined;
    // What has changed last, for example pauses at the exit, should still reach control.
    if (this.#session && this.#changed.size > 0) void this.#report(false);
    await this.#reporting;
    this.#stop.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { credentials, log } = this.#deps;
    const { signal } = this.#stop;
    const reconnect = new Reconnect(this.#deps.spread);
    while (!signal.aborted) {
      const authorization = await credentials.usable(signal);
      if (signal.aborted) return;
      const end = await this.#connect(authorization, reconnect);
      if (signal.aborted) return;
      log.warn({ end: end.kind, reason: end.reason }, 'the agent channel is down');
      switch (end.kind) {
        case 'unauthenticated':
          await credentials.refreshAfter(authorization, signal);
          // Also after a renewal: a control that rejects fresh credentials must not be hammered.
          await pause(reconnect.nextMs(), signal);
          break;
        case 'deleted':
          // A close code proves nothing; the answer to a renewal is signed when it is true.
          log.error('control says that this host was deleted; asking for its signature');
          await credentials.refreshAfter(authorization, signal);
          await pause(reconnect.nextMs(), signal);
          break;
        case 'restart':
        case 'lost':
          await pause(reconnect.nextMs(), signal);
      }
    }
  }

  /** Holds one connection until it ends. */
  async #connect(authorization: string, reconnect: Reconnect): Promise<SessionEnd> {
    const { credentials } = this.#deps;
    const session = new ControlSession(credentials.current.controlUrl, authorization);
    const finished = new AbortController();
    const stopped = new Promise<SessionEnd>((resolve) => {
      this.#stop.signal.addEventListener('abort', () => resolve({ kind: 'lost', reason: 'stopping' }), {
        signal: finished.signal,
      });
    });
    try {
      return await Promise.race([session.ended, this.#beat(session, reconnect), stopped]);
    } finally {
      finished.abort();
      this.#session = undefined;
      if (this.#stop.signal.aborted) await session.close();
      else session.terminate();
    }
  }

  /** Beats, one at a time, until one fails. */
  async #beat(session: ControlSession, reconnect: Reconnect): Promise<SessionEnd> {
    const gone = new AbortController();
    void session.ended.then(() => gone.abort());
    while (!gone.signal.aborted) {
      try {
        const ack = await this.#beatOnce(session);
        reconnect.stands();
        this.#deps.spread.set(ack.reconnectSpreadMs, ack.nextHeartbeatMs);
        if (this.#session !== session) {
          this.#session = session;
          this.#deps.log.info({ nextHeartbeatMs: ack.nextHeartbeatMs }, 'the agent channel is up');
        }
        this.#deps.onAck();
        if (ack.wantInventory || this.#isBehind) {
          this.#isBehind = false;
          void this.#report(true);
        } else if (this.#changed.size > 0) void this.#report(false);
        await pause(Math.min(Math.max(ack.nextHeartbeatMs, MIN_HEARTBEAT_MS), MAX_HEARTBEAT_MS), gone.signal);
      } catch (error) {
        return endOfBeat(error);
      }
    }
    return session.ended;
  }

  async #beatOnce(session: ControlSession): Promise<HeartbeatAck> {
    const { measure, inventory } = this.#deps;
    const { specs, load } = await measure();
    const { digest, sandboxes } = inventory();
    const { instance } = this.#deps;
    const input = { instance, specs, ...load, inventoryDigest: digest, sandboxCount: sandboxes.length };
    return (await session.run<HeartbeatMutation, HeartbeatMutationVariables>(HEARTBEAT, { input })).heartbeat;
  }

  /**
   * Reports are serial too, so that an older one can never overtake a newer one. Whoever does not care need not
   * handle the failure of one.
   *
   * @returns whether control has taken it.
   */
  #report(full: boolean): Promise<boolean> {
    const mine = (this.#reporting ?? Promise.resolve()).then(() => this.#reportOnce(full));
    const ended = mine.then(
      () => {},
      (err: unknown) =>
        this.#deps.log.warn({ err }, 'sandboxes could not be reported; they go with the next heartbeat'),
    );
    this.#reporting = ended;
    void ended.then(() => {
      if (this.#reporting === ended) this.#reporting = undefined;
    });
    return mine;
  }

  async #reportOnce(full: boolean): Promise<boolean> {
    const session = this.#session;
    if (!session) return false;
    const taken = [...this.#changed];
    this.#changed.clear();
    const { epoch, sandboxes } = this.#deps.inventory();
    const chosen = full ? sandboxes : sandboxes.filter(({ id }) => taken.includes(id));
    // A removed sandbox is in no partial report: control sees it by the digest, or asked for it itself.
    if (!full && chosen.length === 0) return true;
    try {
      const ack = await session.run<ReportSandboxesMutation, ReportSandboxesMutationVariables>(REPORT_SANDBOXES, {
        input: { instance: this.#deps.instance, epoch, full, sandboxes: chosen },
      });
      const isBehind = this.#deps.exceedEpoch(ack.reportSandboxes.epoch);
      // With the next heartbeat and not at once: nobody can make it a loop.
      this.#isBehind ||= isBehind;
      return !isBehind;
    } catch (error) {
      for (const id of taken) this.#changed.add(id);
      throw error;
    }
  }
}

function endOfBeat(error: unknown): SessionEnd {
  const reason = error instanceof Error ? error.message : String(error);
  return {
    kind: error instanceof ChannelError && error.code === 'UNAUTHENTICATED' ? 'unauthenticated' : 'lost',
    reason,
  };
}
